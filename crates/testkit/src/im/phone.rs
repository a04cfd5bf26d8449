//! Alibaba Cloud SMS and voice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::DateTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Im, Pass, Said, Service, answer, path};
use crate::sink::Received;

/// What is escaped in a signed query: everything but unreserved characters.
const SIGNED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Longest value of a template's variable, in characters.
const VALUE_CHARS_MAX: usize = 35;

impl Im {
    /// The API of an account with this key that has one signature, and one template with these variables.
    ///
    /// To a number goes one message a minute. A request is taken with its parameters in [`Taken::path`](super::Taken).
    pub async fn alibaba(
        key: (&str, &str),
        sign_name: &str,
        template: &str,
        variables: &[&str],
    ) -> Result<Self> {
        let api = Alibaba {
            key: (key.0.to_owned(), key.1.to_owned()),
            sign_name: sign_name.to_owned(),
            template: template.to_owned(),
            variables: variables.iter().map(|name| (*name).to_owned()).collect(),
            nonces: HashSet::new(),
            told: HashMap::new(),
        };
        Self::start("", api, Vec::new()).await
    }
}

struct Alibaba {
    key: (String, String),
    sign_name: String,
    template: String,
    variables: HashSet<String>,
    nonces: HashSet<String>,
    told: HashMap<String, Instant>,
}

/// A refusal before the request reaches the service it is for.
fn at_the_door(status: u16, code: &str, words: &str) -> Said {
    let body = json!({ "RequestId": "R-1", "HostId": "h", "Code": code, "Message": words });
    Said::Refused(code.to_owned(), answer(status, &body))
}

fn refused(code: &str, words: &str) -> Said {
    let body = json!({ "RequestId": "R-1", "Code": code, "Message": words });
    Said::Refused(code.to_owned(), answer(200, &body))
}

impl Service for Alibaba {
    fn answer(&mut self, request: &Received, _: &Value, pass: &mut Pass) -> Said {
        let header = |name| request.header(name).unwrap_or_default();
        if request.method != Method::POST || path(request) != "/" {
            return at_the_door(404, "InvalidAction.NotFound", "no such action");
        }
        let parameters: BTreeMap<String, String> = request
            .path
            .split_once('?')
            .map(|(_, query)| url::form_urlencoded::parse(query.as_bytes()).into_owned())
            .into_iter()
            .flatten()
            .collect();
        if !header("authorization").contains(&format!("Credential={},", self.key.0)) {
            return at_the_door(404, "InvalidAccessKeyId.NotFound", "no such AccessKey");
        }
        if self.authorization(request, &parameters).as_deref() != Some(header("authorization")) {
            return at_the_door(
                400,
                "SignatureDoesNotMatch",
                "server string to sign is ACS3-HMAC-SHA256 ...",
            );
        }
        let sent = DateTime::parse_from_rfc3339(header("x-acs-date")).ok();
        if sent.is_none_or(|sent| (pass.now_seconds - sent.timestamp()).abs() > 15 * 60) {
            return at_the_door(400, "InvalidTimeStamp.Expired", "the date is expired");
        }
        if !self
            .nonces
            .insert(header("x-acs-signature-nonce").to_owned())
        {
            return at_the_door(400, "SignatureNonceUsed", "the nonce was used already");
        }
        if header("x-acs-version") != "2017-05-25" {
            return at_the_door(400, "InvalidVersion", "no such version");
        }
        let given = |name: &str| parameters.get(name).map_or("", String::as_str);
        let (number, template, values, id) = match header("x-acs-action") {
            "SendSms" if given("SignName") == self.sign_name => {
                ("PhoneNumbers", "TemplateCode", "TemplateParam", "BizId")
            }
            "SendSms" => return refused("isv.SMS_SIGNATURE_ILLEGAL", "短信签名不合法"),
            "SingleCallByTts" if ["1", "2", "3"].contains(&given("PlayTimes")) => {
                ("CalledNumber", "TtsCode", "TtsParam", "CallId")
            }
            "SingleCallByTts" => return refused("isv.INVALID_PARAMETERS", "PlayTimes"),
            _ => return at_the_door(404, "InvalidAction.NotFound", "no such action"),
        };
        if given(template) != self.template {
            return refused("isv.SMS_TEMPLATE_ILLEGAL", "模板不合法");
        }
        let number = given(number);
        if !(7..=15).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
            return refused("isv.MOBILE_NUMBER_ILLEGAL", "invalid mobile number");
        }
        if let Err(code) = self.values(given(values)) {
            return refused(code, given(values));
        }
        let since = self.told.get(number).map(|at| pass.now.duration_since(*at));
        if since.is_some_and(|since| since < Duration::from_mins(1)) {
            return refused("isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1");
        }
        self.told.insert(number.to_owned(), pass.now);
        let body =
            json!({ "RequestId": "R-1", "Code": "OK", "Message": "OK", id: "9006197469364984^0" });
        Said::Taken(answer(200, &body))
    }
}

impl Alibaba {
    /// What the header `authorization` must be; nothing when something is not signed that has to be.
    fn authorization(
        &self,
        request: &Received,
        parameters: &BTreeMap<String, String>,
    ) -> Option<String> {
        let content = hex::encode(Sha256::digest(&request.body));
        if request.header("x-acs-content-sha256") != Some(&content) {
            return None;
        }
        let mut names: Vec<&str> = request
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| name.starts_with("x-acs-") || ["host", "content-type"].contains(name))
            .collect();
        names.sort_unstable();
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default()))
            .collect();
        let (lines, names) = (lines.concat(), names.join(";"));
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| {
                let escaped = |text| utf8_percent_encode(text, SIGNED);
                format!("{}={}", escaped(name), escaped(value))
            })
            .collect();
        let canonical = format!("POST\n/\n{}\n{lines}\n{names}\n{content}", query.join("&"));
        let canonical = hex::encode(Sha256::digest(canonical));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.1.as_bytes()).ok()?;
        mac.update(format!("ACS3-HMAC-SHA256\n{canonical}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let id = &self.key.0;
        Some(format!(
            "ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}"
        ))
    }

    /// The variables of the template: all of them, as texts that providers take.
    fn values(&self, text: &str) -> Result<(), &'static str> {
        let values: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| "isv.INVALID_JSON_PARAM")?;
        if !self.variables.iter().all(|name| values.contains_key(name)) {
            return Err("isv.TEMPLATE_MISSING_PARAMETERS");
        }
        for value in values.values() {
            let text = value.as_str().ok_or("isv.INVALID_JSON_PARAM")?;
            if text.chars().count() > VALUE_CHARS_MAX {
                return Err("isv.PARAM_LENGTH_LIMIT");
            }
            if text.contains("://") || text.contains("www.") {
                return Err("isv.PARAM_NOT_SUPPORT_URL");
            }
            if text.is_empty() || text.contains(['【', '】']) || text.contains(char::is_control) {
                return Err("isv.TEMPLATE_PARAMS_ILLEGAL");
            }
        }
        Ok(())
    }
}
