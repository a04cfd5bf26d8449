//! Signatures of senders: HMAC with a shared secret, and those of SNS and SMN with the key of a certificate.
//!
//! Who made such a certificate and until when it holds is not looked at: what makes it the vendor's is that it was
//! fetched over TLS from a host of the vendor's own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use belfry_model::FieldError;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::Sha256;
use url::Url;
use webpki::EndEntityCert;

use crate::body::Node;
use crate::source::Request;

/// Longest address of a certificate or of a confirmation, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Whether a request is from who it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The sender signs nothing, or the source has no secret to hold it against.
    Unsigned,
    /// The signature is good.
    Good,
    /// The certificate at this address decides.
    Needs(String),
}

/// For formats that nobody signs.
#[expect(clippy::unnecessary_wraps, reason = "one of the functions of a format")]
pub(crate) fn unsigned(_: &Request<'_>) -> Result<Proof, FieldError> {
    Ok(Proof::Unsigned)
}

/// Holds the hexadecimal HMAC-SHA256 in a header against every secret of the source. `parts` are what is signed, one
/// after the other. Without a secret nothing is asked.
pub(crate) fn hmac(
    request: &Request<'_>,
    header: &str,
    prefix: &str,
    parts: &[&[u8]],
) -> Result<Proof, FieldError> {
    let secrets = request.source.secrets();
    if secrets.is_empty() {
        return Ok(Proof::Unsigned);
    }
    let at = || format!("header:{header}");
    let given = request
        .header(header)
        .ok_or_else(|| FieldError::new(at(), "the signature is missing"))?;
    let given = given
        .trim()
        .strip_prefix(prefix)
        .and_then(unhex)
        .ok_or_else(|| {
            let detail = format!("expected {prefix} and 64 hexadecimal digits");
            FieldError::new(at(), detail.trim_start().to_owned())
        })?;
    let good = secrets.iter().any(|secret| {
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).is_ok_and(|mut mac| {
            for part in parts {
                mac.update(part);
            }
            mac.verify_slice(&given).is_ok()
        })
    });
    if good {
        Ok(Proof::Good)
    } else {
        let detail = "the signature is not that of any secret of this source";
        Err(FieldError::new(at(), detail))
    }
}

/// 64 hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A message of a topic, as SNS and SMN sign them.
pub(crate) struct Notice<'n> {
    /// The body.
    pub(crate) body: Node<'n>,
    /// The names of the signed members, in their order; absent ones are left out.
    pub(crate) signed: &'static [&'static str],
    /// The member with the signature.
    pub(crate) signature: &'static str,
    /// The member with the address of the certificate.
    pub(crate) certificate: &'static str,
    /// The member with the topic.
    pub(crate) topic: &'static str,
    /// Whether a host is one of the vendor's that has certificates.
    pub(crate) host: fn(&str) -> bool,
    /// Whether it is SHA-1.
    pub(crate) sha1: bool,
}

impl Notice<'_> {
    /// Checks topic, address of the certificate and signature.
    pub(crate) fn proof(&self, request: &Request<'_>) -> Result<Proof, FieldError> {
        let topic = self.need(self.topic)?;
        if !request.source.takes_topic(&topic) {
            let detail = "the topic is none of the topicArns of this source";
            return Err(FieldError::new(format!("/{}", self.topic), detail));
        }
        let url = self.need(self.certificate)?;
        let url = vendor_url(&url, self.host)
            .filter(|url| url.path().rsplit('.').next() == Some("pem"))
            .ok_or_else(|| {
                let detail = "the certificate is not at an address of the vendor's";
                FieldError::new(format!("/{}", self.certificate), detail)
            })?;
        let signature = self.need(self.signature)?;
        let at = format!("/{}", self.signature);
        let signature = STANDARD
            .decode(signature.as_bytes())
            .map_err(|_| FieldError::new(at.clone(), "the signature is not base64"))?;
        let Some(certificate) = request.certificate else {
            return Ok(Proof::Needs(url.into()));
        };
        let unusable = || {
            let detail = "the certificate at this address cannot be used";
            FieldError::new(format!("/{}", self.certificate), detail)
        };
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| unusable())?;
        let certificate = EndEntityCert::try_from(&der).map_err(|_| unusable())?;
        let algorithm: &dyn SignatureVerificationAlgorithm = if self.sha1 {
            &Sha1
        } else {
            webpki::ring::RSA_PKCS1_2048_8192_SHA256
        };
        certificate
            .verify_signature(algorithm, self.canonical().as_bytes(), &signature)
            .map_err(|_| FieldError::new(at, "the signature is wrong"))?;
        Ok(Proof::Good)
    }

    /// What is signed: name and value of each member, each on a line.
    fn canonical(&self) -> String {
        let mut text = String::new();
        for name in self.signed {
            // Exactly as sent: blanks around a value are part of it.
            if let Some(value) = self.body.0.get(*name).and_then(|value| value.as_str()) {
                text.push_str(name);
                text.push('\n');
                text.push_str(value);
                text.push('\n');
            }
        }
        text
    }

    fn need(&self, name: &str) -> Result<String, FieldError> {
        self.body.need(name)
    }
}

/// An address that is the vendor's: https, the usual port, no user, a host that `host` knows.
pub(crate) fn vendor_url(text: &str, host: fn(&str) -> bool) -> Option<Url> {
    if text.len() > URL_BYTES_MAX {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let good = url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.host_str().is_some_and(host);
    good.then_some(url)
}

/// Whether a host is `<first>.<region><one of ends>`, with a region of letters, digits and dashes.
pub(crate) fn regional(host: &str, first: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| {
        host.strip_prefix(first)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|region| {
                region.len() >= 3
                    && region
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    })
}

/// RSA with SHA-1, which SNS still uses unless it is told otherwise; webpki has it no longer.
#[derive(Debug)]
struct Sha1;

impl SignatureVerificationAlgorithm for Sha1 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        // sha1WithRSAEncryption, 1.2.840.113549.1.1.5
        AlgorithmIdentifier::from_slice(&[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sns(host: &str) -> bool {
        regional(host, "sns", &[".amazonaws.com", ".amazonaws.com.cn"])
    }

    #[test]
    fn only_addresses_of_the_vendor_are_the_vendors() {
        for (url, good) in [
            ("https://sns.us-east-1.amazonaws.com/x.pem", true),
            ("https://SNS.us-east-1.AmazonAWS.com/x.pem", true),
            ("https://sns.cn-north-1.amazonaws.com.cn/x.pem", true),
            ("https://sns.us-east-1.amazonaws.com:443/x.pem", true),
            ("http://sns.us-east-1.amazonaws.com/x.pem", false),
            ("https://sns.us-east-1.amazonaws.com:8443/x.pem", false),
            (
                "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
                false,
            ),
            (
                "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
                false,
            ),
            ("https://user@sns.us-east-1.amazonaws.com/x.pem", false),
            (
                "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
                false,
            ),
            ("https://sns.evil.us-east-1.amazonaws.com/x.pem", false),
            ("https://bucket.s3.amazonaws.com/x.pem", false),
            ("https://sns.s.amazonaws.com/x.pem", false),
            ("https://sns..amazonaws.com/x.pem", false),
            ("https://xsns.us-east-1.amazonaws.com/x.pem", false),
            (
                "https://evil.example\\.sns.us-east-1.amazonaws.com/x.pem",
                false,
            ),
            ("https://169.254.169.254/x.pem", false),
            ("file:///etc/x.pem", false),
            ("", false),
        ] {
            assert_eq!(vendor_url(url, sns).is_some(), good, "{url}");
        }
    }
}
