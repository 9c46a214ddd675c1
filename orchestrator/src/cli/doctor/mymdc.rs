//! Checks the credentials for the metadata catalogue. The token is not shown, and the server not asked.

use std::{fs, os::unix::fs::PermissionsExt};

use amore_model::{DatabaseDir, Proposal};
use amore_mymdc::{Credentials, MymdcError};

use super::{Check, Checks, Grade};
use crate::{advice::Advice, site};

/// Mode bits for everybody.
const OTHERS: u32 = 0o007;

pub(super) fn check(dir: &DatabaseDir, proposal: Proposal) -> Vec<Check> {
    let mut checks = Checks::of("MyMdC");
    // Files that the context file imports are not looked at: what is wrong is shown anyway, as less important.
    let is_used = fs::read_to_string(dir.context_file()).is_ok_and(|text| text.contains("mymdc#"));
    let not_usable = if is_used { Grade::Problem } else { Grade::Warning };
    let directory = match site::find_proposal(proposal) {
        Ok(directory) => directory,
        Err(error) => {
            let grade = if is_used { Grade::Problem } else { Grade::Ok };
            checks.add("credentials", grade, format!("none: {error}"), error.hint().filter(|_| is_used));
            return checks.done;
        }
    };
    let path = Credentials::path_in(&directory);
    match Credentials::read(&path) {
        Ok(credentials) => {
            let found = format!("{} (for {})", path.display(), credentials.server());
            let mode = fs::metadata(&path).map_or(0, |data| data.permissions().mode());
            if mode & OTHERS == 0 {
                checks.ok("credentials", found);
            } else {
                let found = format!("{found}: readable by everybody (mode {:04o})", mode & 0o7777);
                checks.warn("credentials", found, format!("chmod o= {}", path.display()));
            }
        }
        Err(MymdcError::NoCredentials { .. }) if !is_used => {
            checks.ok("credentials", "none: only arguments annotated mymdc# need them");
        }
        Err(error) => {
            checks.add("credentials", not_usable, error.to_string(), Some(error.hint().to_owned()));
        }
    }
    checks.done
}
