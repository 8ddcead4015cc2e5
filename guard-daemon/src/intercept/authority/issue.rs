//! What guard's certificates hold: RFC 5280, in the strict reading of OpenSSL's `X509_V_FLAG_X509_STRICT`
//! (which Python sets since 3.13).

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::AuthorityError;

/// A new authority that may speak for `suffixes` and the names below them, and for no address.
pub(super) fn authority(suffixes: &[&str]) -> Result<(Certificate, KeyPair), AuthorityError> {
    let mut params = params(AUTHORITY_VALID)?;
    params
        .distinguished_name
        .push(DnType::OrganizationName, "guard");
    params
        .distinguished_name
        .push(DnType::CommonName, "guard local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let permitted = suffixes
        .iter()
        .map(|s| s.trim_matches('.').to_ascii_lowercase());
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.map(GeneralSubtree::DnsName).collect(),
        // A permitted DNS subtree says nothing about addresses (RFC 5280 §4.2.1.10).
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

/// The parameters of a server certificate for `name`.
pub(super) fn leaf(name: &str) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(LEAF_VALID)?;
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into()?)];
    // The name itself may be longer than a common name can be (64).
    params.distinguished_name.push(DnType::CommonName, "guard");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(valid: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + valid;
    // Drawn, because rcgen derives it from the key, which all leaves share: NSS refuses a second
    // certificate with the same issuer and serial number. 127 bits, so that it stays positive.
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(AuthorityError::Randomness)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// How long the authority is valid: it outlives the installations of its certificate.
const AUTHORITY_VALID: Duration = Duration::days(3650);

/// How long a leaf is valid.
const LEAF_VALID: Duration = Duration::days(30);

/// Certificates begin in the past, for clients whose clock is slow.
const BACKDATED: Duration = Duration::days(1);
