//! Computes the two signatures: v1 (`HMAC-SHA1`, in parameters) and ACS3 (`ACS3-HMAC-SHA256`, in headers).
//!
//! Independent of the exporter's signer, so that each verifies the other.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes all but unreserved characters, in upper-case hex.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Returns sorted and encoded parameters, as both signatures require.
fn canonical_query(params: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = params.iter().collect();
    sorted.sort();
    let pairs: Vec<_> =
        sorted.iter().map(|(k, v)| format!("{}={}", percent_encode(k), percent_encode(v))).collect();
    pairs.join("&")
}

/// Returns the v1 string to sign, from all parameters of query and form body except `Signature`.
#[must_use]
pub fn v1_string_to_sign(method: &str, params: &[(String, String)]) -> String {
    let signed: Vec<_> = params.iter().filter(|(k, _)| k != "Signature").cloned().collect();
    format!("{method}&%2F&{}", percent_encode(&canonical_query(&signed)))
}

/// Returns the v1 signature in base64.
#[must_use]
pub fn v1_signature(secret: &str, string_to_sign: &str) -> String {
    STANDARD.encode(mac::<Hmac<Sha1>>(&format!("{secret}&"), string_to_sign))
}

/// Returns the ACS3 canonical request. `headers` are the signed headers.
#[must_use]
pub fn acs3_canonical_request(
    method: &str,
    path: &str,
    query: &[(String, String)],
    headers: &[(String, String)],
    body_hash: &str,
) -> String {
    let mut headers: Vec<_> = headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), v.trim())).collect();
    headers.sort();
    let lines: String = headers.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
    let names: Vec<_> = headers.iter().map(|(k, _)| k.as_str()).collect();
    format!("{method}\n{path}\n{}\n{lines}\n{}\n{body_hash}", canonical_query(query), names.join(";"))
}

/// Returns the ACS3 string to sign.
#[must_use]
pub fn acs3_string_to_sign(canonical_request: &str) -> String {
    format!("ACS3-HMAC-SHA256\n{}", sha256_hex(canonical_request.as_bytes()))
}

/// Returns the ACS3 signature in hex.
#[must_use]
pub fn acs3_signature(secret: &str, string_to_sign: &str) -> String {
    hex(&mac::<Hmac<Sha256>>(secret, string_to_sign))
}

/// Returns the SHA-256 in lower-case hex, the format of `x-acs-content-sha256`.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn mac<M: Mac + KeyInit>(key: &str, message: &str) -> Vec<u8> {
    // HMAC accepts keys of any length, so this never returns an empty value.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key.as_bytes()) else { return Vec::new() };
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Returns lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn v1(method: &str, list: &[(&str, &str)]) -> String {
        v1_signature("testsecret", &v1_string_to_sign(method, &pairs(list)))
    }

    /// Parameters of the example in the vendor's API reference.
    fn reference_parameters(action: &'static str, format: &'static str) -> [(&'static str, &'static str); 8] {
        [
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

    fn sign_with_common(method: &str, further: &[(&str, &str)]) -> String {
        let common = [
            ("AccessKeyId", "testid"),
            ("Format", "JSON"),
            ("Version", "2019-09-16"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("Timestamp", "2024-01-02T03:04:05Z"),
            ("RegionId", "cn-hangzhou"),
        ];
        v1(method, &[&common, further].concat())
    }

    #[test]
    fn v1_signs_the_example_of_the_api_reference() {
        assert_eq!(
            v1("GET", &reference_parameters("DescribeRegions", "XML")),
            "OLeaidS1JvxuMvnyHOwuJ+uX5qY="
        );
        assert_eq!(
            v1("GET", &reference_parameters("GetInstanceList", "XML")),
            "VTHHNd4R9cDs0zMvjrUEaOXwcL0="
        );
        assert_eq!(
            v1("GET", &reference_parameters("GetInstanceList", "JSON")),
            "hNvBK+Kz1kHL+rzAJzongQ9zl+w="
        );
        assert_eq!(
            v1("POST", &reference_parameters("GetInstanceList", "XML")),
            "5YSSssLAsjKVdv1z0eV3A2a8zaY="
        );
        assert_eq!(
            v1("POST", &reference_parameters("GetInstanceList", "JSON")),
            "iOsGLiHpcBkVInr1fPnDWk3Jy6E="
        );
    }

    #[test]
    fn v1_matches_the_official_sdks() {
        let tags = [
            ("Action", "GetInstanceList"),
            ("SignatureNonce", "nonce-0001"),
            ("Tag.1.Key", "环境"),
            ("Tag.1.Value", "生产 环境"),
            ("InstanceId.1", "alikafka_pre-cn-abc123"),
        ];
        assert_eq!(sign_with_common("POST", &tags), "6MSBdFLe3wyFa5e1el2QsEJuLBI=");
        let progress = [
            ("Action", "GetConsumerProgress"),
            ("SignatureNonce", "nonce-0002"),
            ("InstanceId", "alikafka_post-cn-xyz"),
            ("ConsumerId", "a b*c~d/e+f=g&h%i"),
            ("HideLastTimestamp", "true"),
        ];
        assert_eq!(sign_with_common("POST", &progress), "IfZk3l63a5TGzizMg8sH8hVAXaw=");
        let topics = [
            ("Action", "GetTopicList"),
            ("SignatureNonce", "nonce-0003"),
            ("InstanceId", "alikafka_post-cn-xyz"),
            ("CurrentPage", "1"),
            ("PageSize", "100"),
            ("SecurityToken", "CAIS+/=abc~*"),
            ("Topic", "it's(ok)!:@,;$?#[]"),
        ];
        assert_eq!(sign_with_common("GET", &topics), "BPghzr1tWzw8dEFSSFcEoK+2FD4=");
        let plain =
            [("Action", "GetInstanceList"), ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf")];
        assert_eq!(sign_with_common("POST", &plain), "loP7N2s0chn86IpfMxzmQf1cTmM=");
    }

    #[test]
    fn v1_string_to_sign_is_encoded_twice_and_omits_the_signature() {
        let list = [("b", "x y"), ("Signature", "no"), ("B", "*"), ("a", "~")];
        assert_eq!(v1_string_to_sign("POST", &pairs(&list)), "POST&%2F&B%3D%252A%26a%3D~%26b%3Dx%2520y");
    }

    #[test]
    fn acs3_matches_the_official_sdk() {
        let query = pairs(&[
            ("InstanceId", "alikafka_post-cn-xyz"),
            ("RegionId", "cn-hangzhou"),
            ("ConsumerId", "生产 a*b~c/d+e"),
        ]);
        let empty = sha256_hex(b"");
        let headers = pairs(&[
            ("host", "alikafka.cn-hangzhou.aliyuncs.com"),
            ("x-acs-version", "2019-09-16"),
            ("x-acs-action", "GetConsumerProgress"),
            ("x-acs-date", "2024-01-02T03:04:05Z"),
            ("x-acs-signature-nonce", "nonce-0004"),
            ("x-acs-content-sha256", &empty),
        ]);
        let canonical = acs3_canonical_request("POST", "/", &query, &headers, &empty);
        assert!(canonical.contains(
            "\nhost;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version\n"
        ));
        assert_eq!(
            acs3_signature("testsecret", &acs3_string_to_sign(&canonical)),
            "1ad744fff16a06add3245eb6d146ebcee71765bee10441eddb8085266996962d"
        );
    }
}
