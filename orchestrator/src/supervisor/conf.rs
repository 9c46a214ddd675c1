//! The text of `supervisord.conf`, from its template.

use std::path::{Path, PathBuf};

use amore_model::shell;

/// The built-in template.
const BUILT_IN: &str = include_str!("../../../templates/supervisord.conf.tera");
/// The file name of a template that replaces it.
pub const TEMPLATE_NAME: &str = "supervisord.conf.tera";

/// A template for the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Where it comes from, for messages.
    pub name: String,
    pub text: String,
}

impl Template {
    pub fn built_in() -> Self {
        Template { name: format!("{TEMPLATE_NAME} (built in)"), text: BUILT_IN.to_owned() }
    }
}

/// What differs between two services.
#[derive(Clone, Debug)]
pub struct Values {
    /// The program of the service.
    pub program: PathBuf,
    /// The directory of the service.
    pub directory: PathBuf,
    /// The host that supervisord runs on, by the name that others know.
    pub hostname: String,
    pub port: u16,
    /// For the control by HTTP. Both are letters and digits.
    pub username: String,
    pub password: String,
    /// The umask of the service.
    pub umask: u32,
}

/// No configuration can be written.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// Supervisor would take a part of the path for something else. The directory has to be renamed.
    #[error("the path {path:?} cannot be written into Supervisor's configuration: {why}")]
    Path { path: PathBuf, why: &'static str },
    /// The template has to be corrected.
    #[error("the template {name} is invalid: {why}")]
    Template { name: String, why: String },
}

/// Renders the configuration.
///
/// # Errors
/// A path cannot be written into it, or the template is invalid.
pub fn render(template: &Template, values: &Values) -> Result<String, ConfError> {
    let wrong = |why: String| ConfError::Template { name: template.name.clone(), why };
    let mut context = tera::Context::new();
    let command = format!("{} listen {}", word(&values.program)?, word(&values.directory)?);
    context.insert("command", &command);
    context.insert("hostname", &values.hostname);
    context.insert("port", &values.port);
    context.insert("username", &values.username);
    context.insert("password", &values.password);
    context.insert("umask", &format!("{:03o}", values.umask));
    let mut tera = tera::Tera::default();
    tera.autoescape_on(Vec::<&str>::new());
    let failed = |error: tera::Error| wrong(crate::advice::with_causes(&error));
    tera.add_raw_template(TEMPLATE_NAME, &template.text).map_err(failed)?;
    let rendered = tera.render(TEMPLATE_NAME, &context).map_err(failed)?;
    // Without these, this program could not tell whether the service runs, and would start another one.
    for needed in ["[program:damnit]", "[inet_http_server]", "[supervisorctl]"] {
        if !rendered.lines().any(|line| line.trim() == needed) {
            return Err(wrong(format!("it has no section {needed}")));
        }
    }
    Ok(rendered)
}

/// A path as one word of Supervisor's `command`, which splits it as a POSIX shell would, but starts no shell.
fn word(path: &Path) -> Result<String, ConfError> {
    let refused = |why| ConfError::Path { path: path.to_owned(), why };
    let text = path.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(refused("it has a control character"));
    }
    // Supervisor expands %(name)s in paths, some of them twice: %% does not help.
    if text.contains('%') {
        return Err(refused("% has a meaning there"));
    }
    // Not even quotes protect them.
    if text.contains(" ;") || text.contains(" #") {
        return Err(refused("a blank before ; or # begins a comment there"));
    }
    Ok(shell::quoted_if_needed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(directory: &str) -> Values {
        Values {
            program: "/opt/amore/bin/amore".into(),
            directory: directory.into(),
            hostname: "max-exfl001".to_owned(),
            port: 43210,
            username: "0123".to_owned(),
            password: "4567".to_owned(),
            umask: 0o027,
        }
    }

    #[test]
    fn the_configuration() {
        let directory = "/gpfs/exfel/exp/SPB/202601/p001234/usr/Shared/amore";
        insta::assert_snapshot!(render(&Template::built_in(), &values(directory)).unwrap());
    }

    #[test]
    fn a_path_is_one_word_or_refused() {
        assert_eq!(word(Path::new("/it's 5 $HOME")).unwrap(), r"'/it'\''s 5 $HOME'");
        assert_eq!(word(Path::new("/a;b#c")).unwrap(), "'/a;b#c'");
        for bad in ["/a ;b", "/a #b", "/5 %", "/a\nuser=root"] {
            assert!(matches!(word(Path::new(bad)), Err(ConfError::Path { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_wrong_template_is_named_with_what_is_wrong() {
        let own = |text: &str| Template { name: "/site/t".to_owned(), text: text.to_owned() };
        let words = render(&own("{{ prot }}"), &values("/a")).unwrap_err().to_string();
        assert!(words.contains("/site/t") && words.contains("prot"), "{words}");
        let words = render(&own("[program:damnit]\n"), &values("/a")).unwrap_err().to_string();
        assert_eq!(words, "the template /site/t is invalid: it has no section [inet_http_server]");
    }
}
