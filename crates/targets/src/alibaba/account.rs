//! Who calls the API, and what its codes mean.

use std::collections::BTreeMap;

use belfry_egress::Method;

use super::acs3;
use crate::messenger::{Answer, Check, Class, Code, Refusal, code};
use crate::phone::{Call, Heard, One};
use crate::secret::Secret;
use crate::signing::Host;

/// Who calls the API.
pub(crate) struct Account {
    host: Host,
    key_id: String,
    key_secret: Secret,
}

/// An action of the API.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Account {
    /// Checks and takes the settings of an account.
    pub(crate) fn new(
        base_url: Option<&str>,
        default: &str,
        key_id: String,
        key_secret: Secret,
        check: &mut Check<'_>,
    ) -> Option<Self> {
        check.need(
            (1..=128).contains(&key_id.len())
                && key_id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
            "/accessKeyId",
            "expected the id of an AccessKey",
        );
        check.token(
            "/accessKeySecret",
            &key_secret,
            "expected the secret of an AccessKey",
        );
        Some(Self {
            host: Host::new(base_url, default, check)?,
            key_id,
            key_secret,
        })
    }

    /// Who is limited: the key.
    pub(crate) fn counted_by(&self) -> &str {
        &self.key_id
    }

    /// A signed request.
    pub(crate) fn call(
        &self,
        action: &Action,
        parameters: &BTreeMap<&str, String>,
        now_ms: i64,
    ) -> Call {
        let query = acs3::query(parameters);
        let headers = acs3::headers(&acs3::Call {
            key_id: &self.key_id,
            key_secret: self.key_secret.expose(),
            host: &self.host.name,
            action: action.name,
            version: action.version,
            query: &query,
            now_ms,
            nonce: &hex::encode(rand::random::<[u8; 16]>()),
        });
        let mut url = self.host.url.clone();
        url.set_query(Some(&query));
        Call {
            method: Method::POST,
            url,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            // Whatever tells of a body would have to be signed.
            content_type: None,
            body: String::new(),
        }
    }
}

/// The code of an approved template: letters, digits and `_`, such as `SMS_100001`.
pub(crate) fn check_template(check: &mut Check<'_>, pointer: &str, code: &str) {
    check.need(
        (1..=64).contains(&code.len())
            && code
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        pointer,
        "expected the code of an approved template, such as SMS_100001 or TTS_100001",
    );
}

/// A number as the API takes it: without `+`; of the mainland without its country code too.
pub(crate) fn number(e164: &str) -> &str {
    e164.strip_prefix("+86")
        .or_else(|| e164.strip_prefix('+'))
        .unwrap_or(e164)
}

/// What the answer to a call for one number means.
pub(crate) fn judge(answer: &Answer<'_>) -> Heard {
    let Some(code) = answer.word("/Code") else {
        return Heard::Unclear;
    };
    if code == "OK" {
        return if answer.is_success() {
            Heard::Each(vec![One::Taken])
        } else {
            Heard::Unclear
        };
    }
    if answer.status >= 500 && Code::find(CODES, code).is_none() {
        return Heard::Unclear;
    }
    let refusal = refusal(code, answer.word("/Message").unwrap_or_default());
    // What is wrong with the number ends it, or makes it wait, for this number only.
    let of_number = refusal.class == Class::Permanent || code == NUMBER_LIMITED;
    match One::of(&refusal) {
        Some(one) if of_number => Heard::Each(vec![one]),
        _ => Heard::Refused(refusal),
    }
}

/// Too many to one number: within a minute, an hour or a day, as only the words tell.
const NUMBER_LIMITED: &str = "isv.BUSINESS_LIMIT_CONTROL";

fn refusal(code: &str, words: &str) -> Refusal {
    let row = match code {
        NUMBER_LIMITED if words.contains("天级") => "isv.BUSINESS_LIMIT_CONTROL.day",
        NUMBER_LIMITED if words.contains("小时级") => "isv.BUSINESS_LIMIT_CONTROL.hour",
        code => code,
    };
    Refusal {
        code: code.to_owned(),
        ..Refusal::of(CODES, row, words)
    }
}

static CODES: &[Code] = &[
    code(
        "InvalidAccessKeyId",
        Class::Misconfigured,
        "the AccessKey does not exist or is disabled",
        "AccessKey 不存在或已禁用",
    ),
    code(
        "SignatureDoesNotMatch",
        Class::Misconfigured,
        "the secret of the AccessKey is wrong",
        "签名不匹配，AccessKey Secret 错误",
    ),
    code(
        "IncompleteSignature",
        Class::Misconfigured,
        "the signature is not accepted",
        "签名不被接受",
    ),
    code(
        "InvalidTimeStamp",
        Class::Misconfigured,
        "the server's clock is wrong by more than 15 minutes",
        "服务器时钟误差超过 15 分钟",
    ),
    code(
        "SignatureNonceUsed",
        Class::Retry,
        "the request was taken for a repeat",
        "请求被视为重放",
    ),
    code(
        "Forbidden",
        Class::Misconfigured,
        "the AccessKey may not do this",
        "AccessKey 没有此权限",
    ),
    code(
        "NoPermission",
        Class::Misconfigured,
        "the AccessKey may not do this",
        "AccessKey 没有此权限",
    ),
    code(
        "InvalidAction",
        Class::Misconfigured,
        "this address has no such action",
        "该地址不支持此接口",
    ),
    code(
        "InvalidVersion",
        Class::Misconfigured,
        "this address has no such version",
        "该地址不支持此版本",
    ),
    code(
        "Throttling",
        Class::Throttled(1000),
        "too many requests",
        "请求过于频繁",
    ),
    code(
        "ServiceUnavailable",
        Class::Retry,
        "not available for now",
        "服务暂不可用",
    ),
    code(
        "InternalError",
        Class::Retry,
        "an error inside Alibaba Cloud",
        "阿里云内部错误",
    ),
    code(
        "isp",
        Class::Retry,
        "an error inside Alibaba Cloud",
        "阿里云内部错误",
    ),
    code(
        "isp.RAM_PERMISSION_DENY",
        Class::Misconfigured,
        "the AccessKey may not do this",
        "AccessKey 没有此权限",
    ),
    code(
        "isv.SYSTEM_ERROR",
        Class::Retry,
        "an error inside Alibaba Cloud",
        "阿里云内部错误",
    ),
    code(
        NUMBER_LIMITED,
        Class::Throttled(60_000),
        "too many within a minute to this number",
        "该号码 1 分钟内发送数超限",
    ),
    code(
        "isv.BUSINESS_LIMIT_CONTROL.hour",
        Class::Throttled(3_600_000),
        "too many within an hour to this number",
        "该号码 1 小时内发送数超限",
    ),
    code(
        "isv.BUSINESS_LIMIT_CONTROL.day",
        Class::Permanent,
        "too many today to this number",
        "该号码当日发送数超限",
    ),
    code(
        "isv.DAY_LIMIT_CONTROL",
        Class::Permanent,
        "the account's limit of today is reached",
        "账号当日发送量超限",
    ),
    code(
        "isv.MONTH_LIMIT_CONTROL",
        Class::Permanent,
        "the account's limit of this month is reached",
        "账号当月发送量超限",
    ),
    code(
        "isv.OUT_OF_SERVICE",
        Class::Misconfigured,
        "the account is suspended",
        "业务停机",
    ),
    code(
        "isv.AMOUNT_NOT_ENOUGH",
        Class::Misconfigured,
        "the account's balance is used up",
        "账户余额不足",
    ),
    code(
        "isv.PRODUCT_UN_SUBSCRIPT",
        Class::Misconfigured,
        "the account has not subscribed to the service",
        "未开通该产品",
    ),
    code(
        "isv.PRODUCT_UNSUBSCRIBE",
        Class::Misconfigured,
        "the account has not subscribed to the service",
        "未开通该产品",
    ),
    code(
        "isv.ACCOUNT_NOT_EXISTS",
        Class::Misconfigured,
        "the account does not exist",
        "账户不存在",
    ),
    code(
        "isv.ACCOUNT_ABNORMAL",
        Class::Misconfigured,
        "the account is blocked",
        "账户异常",
    ),
    code(
        "isv.DENY_IP_RANGE",
        Class::Misconfigured,
        "the account does not allow this server's address",
        "源 IP 地址不在允许范围内",
    ),
    code(
        "isv.SMS_SIGNATURE_ILLEGAL",
        Class::Misconfigured,
        "the signature is not approved",
        "短信签名未审批或不存在",
    ),
    code(
        "isv.SMS_SIGN_ILLEGAL",
        Class::Misconfigured,
        "the signature is not approved",
        "短信签名未审批或不存在",
    ),
    code(
        "isv.SMS_TEMPLATE_ILLEGAL",
        Class::Misconfigured,
        "the template is not approved",
        "短信模板未审批或不存在",
    ),
    code(
        "isv.SMS_SIGNATURE_SCENE_ILLEGAL",
        Class::Misconfigured,
        "the signature does not serve this sort of template",
        "签名与模板类型不一致",
    ),
    code(
        "isv.TTS_TEMPLATE_ILLEGAL",
        Class::Misconfigured,
        "the template is not approved",
        "语音模板未审批或不存在",
    ),
    code(
        "isv.DISPLAY_NUMBER_ILLEGAL",
        Class::Misconfigured,
        "the number that calls is not yours",
        "外呼号码不合法",
    ),
    code(
        "isv.TEMPLATE_MISSING_PARAMETERS",
        Class::Misconfigured,
        "the template has variables that are not given",
        "模板变量缺少参数",
    ),
    code(
        "isv.TEMPLATE_PARAMS_ILLEGAL",
        Class::Permanent,
        "a variable is not of the form that the template asks for",
        "模板变量不合法",
    ),
    code(
        "isv.INVALID_JSON_PARAM",
        Class::Permanent,
        "the variables are no object of texts",
        "模板变量不是合法的 JSON",
    ),
    code(
        "isv.INVALID_PARAMETERS",
        Class::Permanent,
        "a parameter is wrong",
        "参数异常",
    ),
    code(
        "isv.PARAM_LENGTH_LIMIT",
        Class::TooLarge,
        "a variable is too long; lower variableCharsMax",
        "模板变量过长，请调低 variableCharsMax",
    ),
    code(
        "isv.PARAM_NOT_SUPPORT_URL",
        Class::Permanent,
        "a variable holds an address",
        "模板变量中不得使用 URL",
    ),
    code(
        "isv.BLACK_KEY_CONTROL_LIMIT",
        Class::Permanent,
        "the content holds a word that is not allowed",
        "内容包含敏感词",
    ),
    code(
        "isv.SMS_CONTENT_ILLEGAL",
        Class::Permanent,
        "the content holds a word that is not allowed",
        "内容包含敏感词",
    ),
    code(
        "isv.MOBILE_NUMBER_ILLEGAL",
        Class::Permanent,
        "the number is not a phone number",
        "号码格式错误",
    ),
    code(
        "isv.NOT_SUPPORTED_COUNTRY",
        Class::Permanent,
        "numbers of this country are not served",
        "不支持该国家或地区的号码",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_stands_for_three_limits_that_the_words_tell_apart() {
        for (words, class) in [
            ("触发分钟级流控Permits:1", Class::Throttled(60_000)),
            ("触发小时级流控Permits:5", Class::Throttled(3_600_000)),
            ("触发天级流控Permits:10", Class::Permanent),
            ("", Class::Throttled(60_000)),
        ] {
            let refusal = refusal(NUMBER_LIMITED, words);
            assert_eq!(refusal.class, class, "{words}");
            assert_eq!(refusal.code, NUMBER_LIMITED);
        }
        for row in CODES {
            assert_eq!(refusal(row.code, "").class, row.class, "{}", row.code);
        }
    }

    #[test]
    fn numbers_lose_what_the_api_does_not_take() {
        for (e164, taken) in [
            ("+8613800000000", "13800000000"),
            ("+85200000000", "85200000000"),
            ("+12025550123", "12025550123"),
        ] {
            assert_eq!(number(e164), taken);
        }
    }
}
