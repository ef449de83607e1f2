//! An authority of our own: made, and asked to certify.

use std::path::Path;

use idhini::clock::now;
use idhini_server::Fingerprint;
use serde_json::json;

use crate::arguments::{AuthorityCommand, InitAuthority, Issue};
use crate::authority::{self, Authority, Issued};
use crate::entropy::random;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(command: &AuthorityCommand, is_json: bool) -> Result<(), Failure> {
    match command {
        AuthorityCommand::Init(init) => make(init, is_json),
        AuthorityCommand::Issue(issue) => certify(issue, is_json),
    }
}

fn make(InitAuthority { directory, name, lifetime }: &InitAuthority, is_json: bool) -> Result<(), Failure> {
    let (certificate, key) = (directory.join(authority::CERTIFICATE), directory.join(authority::KEY));
    for path in [&certificate, &key] {
        // Everything that it certified would be worth nothing.
        if path.exists() {
            return Err(Failure::AuthorityThere { path: path.clone() });
        }
    }
    // Two of one name would be taken for each other.
    let numbered = || Ok::<_, Failure>(format!("Idhini CA {:08x}", u32::from_be_bytes(random()?)));
    let name = name.clone().map_or_else(numbered, Ok)?;
    let issued = Authority::make(&name, *lifetime, now()).map_err(|source| failure(directory, source))?;
    authority::make_directory(directory)
        .map_err(|source| Failure::Write { path: directory.clone(), source })?;
    put(&issued, &certificate, &key, is_json)
}

fn certify(issue: &Issue, is_json: bool) -> Result<(), Failure> {
    let read = |name: &str| {
        let path = issue.dir.join(name);
        std::fs::read(&path).map_err(|source| Failure::File { path, source })
    };
    let (certificate, key) = (read(authority::CERTIFICATE)?, read(authority::KEY)?);
    let issued = Authority::of_pem(&certificate, &key)
        .and_then(|authority| authority.issue(&issue.names(), issue.usage, issue.lifetime, now()))
        .map_err(|source| failure(&issue.dir, source))?;
    let named = |suffix: &str| {
        let mut name = issue.out.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        issue.out.with_file_name(name)
    };
    put(&issued, &named(".pem"), &named("-key.pem"), is_json)
}

fn put(issued: &Issued, certificate: &Path, key: &Path, is_json: bool) -> Result<(), Failure> {
    authority::write(issued, certificate, key).map_err(|(path, source)| Failure::Write { path, source })?;
    let (fingerprint, until) = (Fingerprint::of(&issued.certificate), issued.until);
    match is_json {
        true => output::json_line(&json!({
            "certificate": certificate.display().to_string(),
            "key": key.display().to_string(),
            "fingerprint": fingerprint.to_string(),
            "until": until.to_string(),
        })),
        false => output::line(&format!(
            "certificate  {}\nkey          {}\nfingerprint  {fingerprint}\nuntil        {until}",
            certificate.display(),
            key.display()
        )),
    }
    Ok(())
}

fn failure(directory: &Path, source: authority::AuthorityError) -> Failure {
    Failure::Authority { path: directory.to_owned(), source }
}
