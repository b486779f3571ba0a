//! Request signatures, as pure functions of key, time and nonce.
//!
//! Owns: the canonical encoding, v1 RPC (`HMAC-SHA1`, signed as `POST`) and ACS3 (`ACS3-HMAC-SHA256`). Key id, token
//! and signature never appear in a URL: v1 has a form body, ACS3 has headers.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Version of the management API.
pub const API_VERSION: &str = "2019-09-16";

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// SHA-256 of an empty body.
const EMPTY_BODY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Access key that signs a request.
#[derive(Clone, Copy)]
pub struct SigningKey<'a> {
    /// `AccessKeyId`.
    pub id: &'a str,
    /// `AccessKeySecret`.
    pub secret: &'a str,
    /// `SecurityToken` of temporary credentials.
    pub token: Option<&'a str>,
}

/// Parameters that make each signature unique.
#[derive(Debug, Clone, Copy)]
pub struct SigningContext<'a> {
    /// Time in UTC, e.g. `2024-01-02T03:04:05Z`.
    pub timestamp: &'a str,
    /// Random text that is used once.
    pub nonce: &'a str,
}

/// Query and headers of a request signed with ACS3.
pub struct Acs3Request {
    /// Query as signed: encoded, sorted, without `?`.
    pub query: String,
    /// Signed headers, then `authorization`. Names are in lower case.
    pub headers: Vec<(&'static str, String)>,
}

/// Percent-encodes all characters except `A-Za-z0-9-_.~`, in upper-case hex.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Returns `key=value` pairs, encoded, sorted by key in byte order, joined by `&`.
pub(super) fn canonical_query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut parameters: Vec<_> = parameters.into_iter().collect();
    parameters.sort_unstable();
    let mut query = String::new();
    for (key, value) in parameters {
        let separator = if query.is_empty() { "" } else { "&" };
        // Writing to a `String` cannot fail.
        let _ = write!(
            query,
            "{separator}{}={}",
            utf8_percent_encode(key, RESERVED),
            utf8_percent_encode(value, RESERVED)
        );
    }
    query
}

/// Returns the string to sign of v1.
fn v1_string_to_sign(method: &str, canonical: &str) -> String {
    format!("{method}&%2F&{}", encode(canonical))
}

fn mac<D: EagerHash>(key: &[u8], message: &str) -> Vec<u8>
where
    Hmac<D>: KeyInit + Mac,
{
    // HMAC accepts keys of any length, so there is no error; an empty signature would be rejected.
    <Hmac<D> as KeyInit>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

fn v1_signature(method: &str, canonical: &str, secret: &str) -> String {
    let key = format!("{secret}&");
    STANDARD.encode(mac::<Sha1>(key.as_bytes(), &v1_string_to_sign(method, canonical)))
}

/// Returns the form body of a request signed with v1 for any API of the cloud: all parameters and the signature.
#[must_use]
pub fn v1_form(
    version: &str,
    action: &str,
    parameters: &[(&str, String)],
    key: SigningKey<'_>,
    context: SigningContext<'_>,
) -> String {
    let common = [
        ("AccessKeyId", key.id),
        ("Action", action),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", context.nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", context.timestamp),
        ("Version", version),
    ];
    let token = key.token.map(|token| ("SecurityToken", token));
    let business = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let mut body = canonical_query(common.into_iter().chain(token).chain(business));
    let signature = encode(&v1_signature("POST", &body, key.secret));
    body.push_str("&Signature=");
    body.push_str(&signature);
    body
}

/// Returns the signature at the end of a form body or header, decoded as a server sees it.
pub(super) fn signature_in(signed: &str) -> String {
    let signature = signed.rsplit_once("Signature=").map_or("", |(_, signature)| signature);
    percent_decode_str(signature).decode_utf8_lossy().into_owned()
}

/// Returns query and headers of a request signed with ACS3: `POST /`, parameters in the query, no body. `host` is the
/// value of the header `host`, with the port unless it is the default.
#[must_use]
pub fn acs3(
    action: &str,
    host: &str,
    parameters: &[(&str, String)],
    key: SigningKey<'_>,
    context: SigningContext<'_>,
) -> Acs3Request {
    let query = canonical_query(parameters.iter().map(|(name, value)| (*name, value.as_str())));
    let mut headers = vec![
        ("host", host.to_owned()),
        ("x-acs-action", action.to_owned()),
        ("x-acs-content-sha256", EMPTY_BODY_SHA256.to_owned()),
        ("x-acs-date", context.timestamp.to_owned()),
    ];
    if let Some(token) = key.token {
        headers.push(("x-acs-security-token", token.to_owned()));
    }
    headers.push(("x-acs-signature-nonce", context.nonce.to_owned()));
    headers.push(("x-acs-version", API_VERSION.to_owned()));

    let mut canonical = format!("POST\n/\n{query}\n");
    for (name, value) in &headers {
        canonical.extend([name, ":", value.trim(), "\n"]);
    }
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    canonical.extend(["\n", names.as_str(), "\n", EMPTY_BODY_SHA256]);

    let string_to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(&canonical)));
    let signature = hex(&mac::<Sha256>(key.secret.as_bytes(), &string_to_sign));
    headers.push((
        "authorization",
        format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}", key.id),
    ));
    Acs3Request { query, headers }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SigningKey<'static> = SigningKey { id: "testid", secret: "testsecret", token: None };

    /// Signs a query of all parameters.
    fn v1(method: &str, parameters: &[(&str, &str)]) -> String {
        v1_signature(method, &canonical_query(parameters.iter().copied()), "testsecret")
    }

    fn reference(action: &'static str, format: &'static str) -> Vec<(&'static str, &'static str)> {
        vec![
            ("Timestamp", "2016-02-23T12:46:24Z"),
            ("Format", format),
            ("AccessKeyId", "testid"),
            ("Action", action),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
            ("Version", "2014-05-26"),
            ("SignatureVersion", "1.0"),
        ]
    }

    fn common<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![
            ("AccessKeyId", "testid"),
            ("Format", "JSON"),
            ("Version", "2019-09-16"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("Timestamp", "2024-01-02T03:04:05Z"),
            ("RegionId", "cn-hangzhou"),
        ];
        all.extend_from_slice(more);
        all
    }

    const V2: &[(&str, &str)] = &[
        ("Action", "GetConsumerProgress"),
        ("SignatureNonce", "nonce-0002"),
        ("InstanceId", "alikafka_post-cn-xyz"),
        ("ConsumerId", "a b*c~d/e+f=g&h%i"),
        ("HideLastTimestamp", "true"),
    ];

    #[test]
    fn v1_signature_of_describe_regions_is_that_of_the_reference() {
        assert_eq!(v1("GET", &reference("DescribeRegions", "XML")), "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
    }

    #[test]
    fn v1_signatures_of_the_parameters_in_the_reference() {
        for (method, format, signature) in [
            ("GET", "XML", "VTHHNd4R9cDs0zMvjrUEaOXwcL0="),
            ("GET", "JSON", "hNvBK+Kz1kHL+rzAJzongQ9zl+w="),
            ("POST", "XML", "5YSSssLAsjKVdv1z0eV3A2a8zaY="),
            ("POST", "JSON", "iOsGLiHpcBkVInr1fPnDWk3Jy6E="),
        ] {
            assert_eq!(v1(method, &reference("GetInstanceList", format)), signature, "{method} {format}");
        }
    }

    #[test]
    fn v1_agrees_with_the_official_clients() {
        let v1_1 = common(&[
            ("Action", "GetInstanceList"),
            ("SignatureNonce", "nonce-0001"),
            ("Tag.1.Key", "环境"),
            ("Tag.1.Value", "生产 环境"),
            ("InstanceId.1", "alikafka_pre-cn-abc123"),
        ]);
        assert_eq!(v1("POST", &v1_1), "6MSBdFLe3wyFa5e1el2QsEJuLBI=");
        assert_eq!(v1("POST", &common(V2)), "IfZk3l63a5TGzizMg8sH8hVAXaw=");
        let v3 = common(&[
            ("Action", "GetTopicList"),
            ("SignatureNonce", "nonce-0003"),
            ("InstanceId", "alikafka_post-cn-xyz"),
            ("CurrentPage", "1"),
            ("PageSize", "100"),
            ("SecurityToken", "CAIS+/=abc~*"),
            ("Topic", "it's(ok)!:@,;$?#[]"),
        ]);
        assert_eq!(v1("GET", &v3), "BPghzr1tWzw8dEFSSFcEoK+2FD4=");
        let v4 = common(&[
            ("Action", "GetInstanceList"),
            ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
        ]);
        assert_eq!(v1("POST", &v4), "loP7N2s0chn86IpfMxzmQf1cTmM=");
    }

    #[test]
    fn v1_signs_the_string_that_the_official_clients_sign() {
        assert_eq!(
            v1_string_to_sign("POST", &canonical_query(common(V2))),
            "POST&%2F&AccessKeyId%3Dtestid%26Action%3DGetConsumerProgress%26ConsumerId%3Da%2520b%252Ac~d\
             %252Fe%252Bf%253Dg%2526h%2525i%26Format%3DJSON%26HideLastTimestamp%3Dtrue%26InstanceId%3Dalik\
             afka_post-cn-xyz%26RegionId%3Dcn-hangzhou%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3Dno\
             nce-0002%26SignatureVersion%3D1.0%26Timestamp%3D2024-01-02T03%253A04%253A05Z%26Version%3D2019\
             -09-16"
        );
    }

    #[test]
    fn the_v1_form_has_all_parameters_and_the_signature() {
        let parameters = [
            ("RegionId", "cn-hangzhou".to_owned()),
            ("InstanceId", "alikafka_post-cn-xyz".to_owned()),
            ("ConsumerId", "a b*c~d/e+f=g&h%i".to_owned()),
            ("HideLastTimestamp", "true".to_owned()),
        ];
        let context = SigningContext { timestamp: "2024-01-02T03:04:05Z", nonce: "nonce-0002" };
        let form = v1_form(API_VERSION, "GetConsumerProgress", &parameters, KEY, context);
        assert_eq!(
            form,
            "AccessKeyId=testid&Action=GetConsumerProgress&ConsumerId=a%20b%2Ac~d%2Fe%2Bf%3Dg%26h%25i&\
             Format=JSON&HideLastTimestamp=true&InstanceId=alikafka_post-cn-xyz&RegionId=cn-hangzhou&\
             SignatureMethod=HMAC-SHA1&SignatureNonce=nonce-0002&SignatureVersion=1.0&\
             Timestamp=2024-01-02T03%3A04%3A05Z&Version=2019-09-16&Signature=IfZk3l63a5TGzizMg8sH8hVAXaw%3D"
        );
        assert_eq!(signature_in(&form), "IfZk3l63a5TGzizMg8sH8hVAXaw=", "as a server sees it, for redaction");
        let with_token = v1_form(
            API_VERSION,
            "GetConsumerProgress",
            &parameters,
            SigningKey { token: Some("t/k"), ..KEY },
            context,
        );
        assert!(with_token.contains("&SecurityToken=t%2Fk&"), "{with_token}");
    }

    #[test]
    fn acs3_agrees_with_the_official_client() {
        let parameters = [
            ("InstanceId", "alikafka_post-cn-xyz".to_owned()),
            ("RegionId", "cn-hangzhou".to_owned()),
            ("ConsumerId", "生产 a*b~c/d+e".to_owned()),
        ];
        let context = SigningContext { timestamp: "2024-01-02T03:04:05Z", nonce: "nonce-0004" };
        let signed =
            acs3("GetConsumerProgress", "alikafka.cn-hangzhou.aliyuncs.com", &parameters, KEY, context);
        assert_eq!(
            signed.query,
            "ConsumerId=%E7%94%9F%E4%BA%A7%20a%2Ab~c%2Fd%2Be&InstanceId=alikafka_post-cn-xyz&\
             RegionId=cn-hangzhou"
        );
        assert_eq!(
            signed.headers.last().unwrap(),
            &(
                "authorization",
                "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-action;x-acs-content-sha256;\
                 x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=\
                 1ad744fff16a06add3245eb6d146ebcee71765bee10441eddb8085266996962d"
                    .to_owned()
            )
        );
    }

    #[test]
    fn acs3_signs_the_token() {
        let context = SigningContext { timestamp: "2024-01-02T03:04:05Z", nonce: "n" };
        let signature = |token| {
            acs3("GetInstanceList", "h", &[], SigningKey { token, ..KEY }, context)
                .headers
                .last()
                .unwrap()
                .1
                .clone()
        };
        assert!(signature(Some("one")).contains(";x-acs-security-token;"));
        assert_ne!(signature(Some("one")), signature(Some("two")));
    }
}
