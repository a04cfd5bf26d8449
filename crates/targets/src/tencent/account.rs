//! Who calls the API, and what its error codes mean.

use belfry_egress::Method;
use serde_json::Value;

use super::tc3;
use crate::messenger::{Answer, Check, Class, Code, Refusal, code};
use crate::phone::Call;
use crate::secret::Secret;
use crate::signing::Host;

/// Who calls the API.
pub(crate) struct Account {
    host: Host,
    secret_id: String,
    secret_key: Secret,
    region: String,
}

/// An action of the API.
pub(crate) struct Action {
    /// The first word of the vendor's host.
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Account {
    /// Checks and takes the settings of an account.
    pub(crate) fn new(
        base_url: Option<&str>,
        default: &str,
        secret_id: String,
        secret_key: Secret,
        region: String,
        check: &mut Check<'_>,
    ) -> Option<Self> {
        let plain = |text: &str| {
            (1..=128).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        check.need(
            plain(&secret_id),
            "/secretId",
            "expected the SecretId of an API key",
        );
        check.token(
            "/secretKey",
            &secret_key,
            "expected the SecretKey of an API key",
        );
        check.need(
            plain(&region),
            "/region",
            "expected a region such as ap-guangzhou",
        );
        Some(Self {
            host: Host::new(base_url, default, check)?,
            secret_id,
            secret_key,
            region,
        })
    }

    /// Who is limited: the key.
    pub(crate) fn counted_by(&self) -> &str {
        &self.secret_id
    }

    /// A signed request.
    pub(crate) fn call(&self, action: &Action, body: &Value, now_ms: i64) -> Call {
        let body = body.to_string();
        let timestamp = now_ms.div_euclid(1000);
        let authorization = tc3::authorization(&tc3::Call {
            secret_id: &self.secret_id,
            secret_key: self.secret_key.expose(),
            host: &self.host.name,
            service: action.service,
            action: action.name,
            timestamp,
            payload: body.as_bytes(),
        });
        let headers = [
            ("authorization", authorization),
            ("x-tc-action", action.name.to_owned()),
            ("x-tc-version", action.version.to_owned()),
            ("x-tc-timestamp", timestamp.to_string()),
            ("x-tc-region", self.region.clone()),
        ];
        Call {
            method: Method::POST,
            url: self.host.url.clone(),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            content_type: Some(tc3::CONTENT_TYPE),
            body,
        }
    }
}

/// The error of the whole call, if there is one.
pub(crate) fn error(answer: &Answer<'_>) -> Option<Refusal> {
    let code = answer.word("/Response/Error/Code")?;
    let words = answer.word("/Response/Error/Message").unwrap_or_default();
    Some(refusal(code, words))
}

/// The ids of an application and of its approved template.
pub(crate) fn check_ids(check: &mut Check<'_>, app_id: &str, template_id: &str) {
    let digits = |text: &str| {
        (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    check.need(
        digits(app_id),
        "/appId",
        "expected the SdkAppId, a number as text",
    );
    check.need(
        digits(template_id),
        "/templateId",
        "expected the id of a template, a number as text",
    );
}

/// What a code means that is told of one number.
pub(crate) fn refusal(code: &str, words: &str) -> Refusal {
    Refusal::of(CODES, code, words)
}

static CODES: &[Code] = &[
    code(
        "AuthFailure",
        Class::Misconfigured,
        "the API key or its signature is not accepted",
        "密钥或签名不被接受",
    ),
    code(
        "UnauthorizedOperation",
        Class::Misconfigured,
        "the account or key may not do this",
        "账号或密钥没有此权限",
    ),
    code(
        "InvalidParameterValue.SdkAppIdNotExist",
        Class::Misconfigured,
        "the application does not exist",
        "应用 SdkAppId 不存在",
    ),
    code(
        "InternalError",
        Class::Retry,
        "an error inside Tencent Cloud",
        "腾讯云内部错误",
    ),
    code(
        "InternalError.SigVerificationFail",
        Class::Misconfigured,
        "the signature is not accepted",
        "签名校验失败",
    ),
    code(
        "InternalError.SigFieldMissing",
        Class::Misconfigured,
        "the signature is not accepted",
        "签名校验失败",
    ),
    code(
        "ResourceUnavailable",
        Class::Retry,
        "not available for now",
        "资源暂不可用",
    ),
    code(
        "RequestLimitExceeded",
        Class::Throttled(1000),
        "too many requests",
        "请求过于频繁",
    ),
    code(
        "LimitExceeded",
        Class::Throttled(60_000),
        "too many messages",
        "超出发送频率限制",
    ),
    code(
        "LimitExceeded.DeliveryFrequencyLimit",
        Class::Throttled(60_000),
        "too many messages",
        "超出短信下发频率限制",
    ),
    code(
        "LimitExceeded.PhoneNumberThirtySecondLimit",
        Class::Throttled(30_000),
        "too many within 30 seconds to this number",
        "该号码 30 秒内短信数超限",
    ),
    code(
        "LimitExceeded.PhoneNumberOneHourLimit",
        Class::Throttled(3_600_000),
        "too many within an hour to this number",
        "该号码 1 小时内短信数超限",
    ),
    code(
        "LimitExceeded.PhoneNumberDailyLimit",
        Class::Permanent,
        "too many today to this number",
        "该号码当日短信数超限",
    ),
    code(
        "LimitExceeded.PhoneNumberSameContentDailyLimit",
        Class::Permanent,
        "too many of the same content today to this number",
        "该号码当日相同内容短信数超限",
    ),
    code(
        "LimitExceeded.PhoneNumberCountLimit",
        Class::Permanent,
        "too many numbers in one request",
        "单次请求号码过多",
    ),
    code(
        "LimitExceeded.AppDailyLimit",
        Class::Permanent,
        "the application's limit of today is reached",
        "应用当日发送量超限",
    ),
    code(
        "FailedOperation.InsufficientBalanceInSmsPackage",
        Class::Misconfigured,
        "the SMS package is used up",
        "短信套餐包余量不足",
    ),
    code(
        "FailedOperation.SignatureIncorrectOrUnapproved",
        Class::Misconfigured,
        "the signature is not approved",
        "短信签名未审批或不存在",
    ),
    code(
        "FailedOperation.TemplateIncorrectOrUnapproved",
        Class::Misconfigured,
        "the template is not approved",
        "短信模板未审批或内容不匹配",
    ),
    code(
        "FailedOperation.TemplateUnapprovedOrNotExist",
        Class::Misconfigured,
        "the template is not approved",
        "模板未审批或不存在",
    ),
    code(
        "FailedOperation.MissingSignature",
        Class::Misconfigured,
        "the signature does not exist",
        "短信签名不存在",
    ),
    code(
        "FailedOperation.MissingTemplateToModify",
        Class::Misconfigured,
        "the template does not exist",
        "模板不存在",
    ),
    code(
        "FailedOperation.TemplateParamSetNotMatchApprovedTemplate",
        Class::Misconfigured,
        "the variables do not fit the template",
        "变量与模板不匹配",
    ),
    code(
        "FailedOperation.PhoneNumberInBlacklist",
        Class::Permanent,
        "the number wants no messages",
        "号码在黑名单中",
    ),
    code(
        "FailedOperation.PhoneNumberOnBlacklist",
        Class::Permanent,
        "the number wants no calls",
        "号码在黑名单中",
    ),
    code(
        "FailedOperation.ContainSensitiveWord",
        Class::Permanent,
        "the content holds a word that is not allowed",
        "内容包含敏感词",
    ),
    code(
        "FailedOperation.FailResolvePacket",
        Class::Permanent,
        "the request cannot be read",
        "请求包解析失败",
    ),
    code(
        "FailedOperation",
        Class::Permanent,
        "the operation failed",
        "操作失败",
    ),
    code(
        "InvalidParameterValue.IncorrectPhoneNumber",
        Class::Permanent,
        "the number is not a phone number",
        "号码格式错误",
    ),
    code(
        "InvalidParameterValue.CalledNumberIsWrong",
        Class::Permanent,
        "the number is not a phone number",
        "被叫号码错误",
    ),
    code(
        "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter",
        Class::Permanent,
        "a variable holds an address",
        "模板变量中不得使用 URL",
    ),
    code(
        "InvalidParameterValue.TemplateParameterLengthLimit",
        Class::TooLarge,
        "a variable is too long; lower variableCharsMax",
        "模板变量过长，请调低 variableCharsMax",
    ),
    code(
        "InvalidParameterValue.TemplateParameterFormatError",
        Class::Permanent,
        "a variable is not of the form that the template asks for",
        "模板变量格式不符",
    ),
    code(
        "InvalidParameterValue.ContentLengthLimit",
        Class::TooLarge,
        "the content is too long",
        "内容过长",
    ),
    code(
        "UnsupportedOperation",
        Class::Misconfigured,
        "the account or template does not serve this number",
        "账号或模板不支持该号码",
    ),
    code(
        "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber",
        Class::Permanent,
        "numbers of the mainland and others in one request",
        "不可同时包含国内与国际号码",
    ),
    code(
        "InvalidParameter",
        Class::Permanent,
        "a parameter is wrong",
        "参数错误",
    ),
    code(
        "MissingParameter",
        Class::Permanent,
        "a parameter is missing",
        "缺少参数",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::One;

    #[test]
    fn the_most_exact_row_of_a_code_counts() {
        for (code, class) in [
            ("AuthFailure.SecretIdNotFound", Class::Misconfigured),
            ("InternalError.Timeout", Class::Retry),
            ("InternalError.SigVerificationFail", Class::Misconfigured),
            (
                "LimitExceeded.PhoneNumberThirtySecondLimit",
                Class::Throttled(30_000),
            ),
            ("LimitExceeded.Something", Class::Throttled(60_000)),
            ("LimitExceededX", Class::Permanent),
            ("FailedOperation.Other", Class::Permanent),
            (
                "FailedOperation.InsufficientBalanceInSmsPackage",
                Class::Misconfigured,
            ),
            ("Whatever", Class::Permanent),
        ] {
            assert_eq!(refusal(code, "").class, class, "{code}");
        }
        for row in CODES {
            assert!(refusal(row.code, "").class == row.class, "{}", row.code);
        }
        assert!(One::of(&refusal("AuthFailure.X", "")).is_none());
        assert!(matches!(
            One::of(&refusal("LimitExceeded.PhoneNumberOneHourLimit", "")),
            Some(One::Later(3_600_000, _))
        ));
    }
}
