//! Signatures of Tencent Cloud's API 3.0 (`TC3-HMAC-SHA256`), with the smallest set of signed headers.

use chrono::DateTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The content type that is signed and must be sent.
pub(crate) const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const SIGNED_HEADERS: &str = "content-type;host;x-tc-action";

/// What a signature covers.
pub(crate) struct Call<'a> {
    pub(crate) secret_id: &'a str,
    pub(crate) secret_key: &'a str,
    /// The host as it is sent, with its port if that is not 443.
    pub(crate) host: &'a str,
    /// `sms`, `vms`: the first word of the vendor's own host names.
    pub(crate) service: &'a str,
    pub(crate) action: &'a str,
    /// Seconds since 1970, the same as in `x-tc-timestamp`.
    pub(crate) timestamp: i64,
    pub(crate) payload: &'a [u8],
}

/// The value of the header `authorization`.
pub(crate) fn authorization(call: &Call<'_>) -> String {
    let canonical = format!(
        "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{}\nx-tc-action:{}\n\n{SIGNED_HEADERS}\n{}",
        call.host,
        call.action.to_ascii_lowercase(),
        hex(&Sha256::digest(call.payload)),
    );
    // Time is a day of UTC, whatever zone the server is in.
    let date = DateTime::from_timestamp(call.timestamp, 0)
        .unwrap_or_default()
        .format("%Y-%m-%d")
        .to_string();
    let scope = format!("{date}/{}/tc3_request", call.service);
    let signed = format!(
        "TC3-HMAC-SHA256\n{}\n{scope}\n{}",
        call.timestamp,
        hex(&Sha256::digest(canonical.as_bytes())),
    );
    let start = format!("TC3{}", call.secret_key).into_bytes();
    let key = [date.as_str(), call.service, "tc3_request"]
        .iter()
        .fold(start, |key, part| hmac(&key, part.as_bytes()));
    format!(
        "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={}",
        call.secret_id,
        hex(&hmac(&key, signed.as_bytes())),
    )
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is taken; there is no error that could come.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_call_has_its_known_signature() {
        let payload = r#"{"PhoneNumberSet":["+8613800000000"],"SmsSdkAppId":"1400000000","SignName":"演示","TemplateId":"100001","TemplateParamSet":["cvm","ins-demo0001"]}"#;
        let call = Call {
            secret_id: "AKIDDEMO",
            secret_key: "demoSecretKey",
            host: "sms.tencentcloudapi.com",
            service: "sms",
            action: "SendSms",
            timestamp: 1_700_000_000,
            payload: payload.as_bytes(),
        };
        assert_eq!(
            authorization(&call),
            "TC3-HMAC-SHA256 Credential=AKIDDEMO/2023-11-14/sms/tc3_request, \
             SignedHeaders=content-type;host;x-tc-action, \
             Signature=ecdfd10cde821e59139dad5b4db51e1f9904518bbe8b66eebbf715f1c185d900"
        );
    }
}
