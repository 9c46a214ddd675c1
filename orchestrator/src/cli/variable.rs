//! `amore variable`: variables that users edit, and their values, in DAMNIT's tables.

use std::process::ExitCode;

use amore_model::{Proposal, Run, identifier};
use amore_run_table::{NotChanged, RunTable, UserCellName, UserType, UserValue, UserVariable};
use serde_json::json;

use super::{
    failure::{Exit, Failure},
    open, output,
};
use crate::{
    clock,
    database_dir::{locate, must_have_run_table},
};

/// Manage variables that users edit, and their values.
///
/// They are columns of the table beside those that the context file computes. DAMNIT's graphical interface shows and edits
/// them, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore variable add dark boolean --title \"Dark run\"\n  \
    amore variable set 42 dark=true sample=lysozyme\n  \
    amore variable unset 42 sample\n  \
    amore variable list")]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Proposal number or database directory [default: the working directory].
    #[arg(long = "in", value_name = "DIR", global = true)]
    directory: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Add a variable
    Add {
        /// Its name.
        name: String,
        /// Its type.
        #[arg(value_enum)]
        value_type: Type,
        /// Its title [default: its name].
        #[arg(long)]
        title: Option<String>,
        /// Its description.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Set values of variables for a run
    Set {
        /// Run number.
        run: u32,
        /// Values, by the name of their variable.
        #[arg(value_name = "NAME=VALUE", required = true)]
        values: Vec<String>,
        /// Proposal of the run [default: that of the database].
        #[arg(long)]
        proposal: Option<u32>,
    },
    /// Remove values of variables for a run
    Unset {
        /// Run number.
        run: u32,
        /// Names of variables.
        #[arg(required = true)]
        names: Vec<String>,
        /// Proposal of the run [default: that of the database].
        #[arg(long)]
        proposal: Option<u32>,
    },
    /// List the variables that users edit
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a variable
    Rm {
        /// Its name.
        name: String,
        /// Remove its values, too.
        #[arg(long)]
        with_values: bool,
    },
}

/// A type, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Type {
    /// True or false
    Boolean,
    /// A whole number
    Integer,
    /// A number
    Number,
    /// Text
    String,
}

impl From<Type> for UserType {
    fn from(typed: Type) -> Self {
        match typed {
            Type::Boolean => UserType::Boolean,
            Type::Integer => UserType::Integer,
            Type::Number => UserType::Number,
            Type::String => UserType::String,
        }
    }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    match &arguments.what {
        What::List { json } => list(&open::for_reading(&dir).await?, *json).await?,
        What::Add { name, value_type, title, description } => {
            let name = identifier(name);
            let title = title.clone().unwrap_or_else(|| name.clone());
            let (value_type, description) = (UserType::from(*value_type), description.clone());
            let variable = UserVariable { name, title, value_type, description };
            open::for_writing(&dir).await?.add_user_variable(&variable).await?;
        }
        What::Rm { name, with_values } => {
            open::for_writing(&dir).await?.remove_user_variable(&identifier(name), *with_values).await?;
        }
        What::Set { run, values, proposal } => {
            let table = open::for_writing(&dir).await?;
            let proposal = open::proposal(&table, proposal.map(Proposal)).await?;
            let typed = parsed(&table.user_variables().await?, values)?;
            for (name, value) in typed {
                let cell = UserCellName { proposal, run: Run(*run), variable: &name };
                table.set_user_cell(&cell, Some(value), None, clock::now()).await?;
            }
        }
        What::Unset { run, names, proposal } => {
            let table = open::for_writing(&dir).await?;
            let proposal = open::proposal(&table, proposal.map(Proposal)).await?;
            for name in names {
                let name = identifier(name);
                let cell = UserCellName { proposal, run: Run(*run), variable: &name };
                table.set_user_cell(&cell, None, None, clock::now()).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(table: &RunTable, as_json: bool) -> Result<(), Failure> {
    let variables = table.user_variables().await?;
    if as_json {
        return output::say_json(&json!(variables));
    }
    for UserVariable { name, title, value_type, description } in variables {
        let about = if description.is_empty() { title } else { format!("{title}: {description}") };
        output::say(format!("{name:20} {:8} {about}", value_type.word()));
    }
    Ok(())
}

/// Values as they were typed: all of them are read before one is stored.
fn parsed(variables: &[UserVariable], typed: &[String]) -> Result<Vec<(String, UserValue)>, Failure> {
    let one = |text: &String| {
        let Some((name, text)) = text.split_once('=') else {
            let words = format!("{text:?}: expected NAME=VALUE");
            return Err(Failure::new(words).exit(Exit::Usage));
        };
        let name = identifier(name.trim());
        let Some(variable) = variables.iter().find(|variable| variable.name == name) else {
            return Err(NotChanged::NoSuchVariable { name, is_computed: false }.into());
        };
        match variable.value_type.parse(text) {
            Ok(value) => Ok((name, value)),
            Err(source) => Err(Failure::from(NotChanged::NotOfType { name, source }).exit(Exit::Usage)),
        }
    };
    typed.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_are_read_before_one_is_stored() {
        let variable = |name: &str, value_type| UserVariable {
            name: name.to_owned(),
            title: String::new(),
            value_type,
            description: String::new(),
        };
        let known = [variable("dark", UserType::Boolean), variable("n", UserType::Integer)];
        let read =
            |words: &[&str]| parsed(&known, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let values = read(&["dark=yes", "n=-3"]).unwrap();
        let expected =
            [("dark".to_owned(), UserValue::Boolean(true)), ("n".to_owned(), UserValue::Integer(-3))];
        assert_eq!(values, expected);
        assert_eq!(read(&["dark=yes", "n=many"]).unwrap_err().exit, Exit::Usage);
        assert!(read(&["other=1"]).unwrap_err().hint.is_some());
        assert_eq!(read(&["dark"]).unwrap_err().exit, Exit::Usage);
    }
}
