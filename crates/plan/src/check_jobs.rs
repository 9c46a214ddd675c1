//! What is wrong with the commands of variables (`job=SlurmJob(…)`).

use std::collections::{HashMap, HashSet};

use amore_model::{
    Argument, Dependency, JobSpec, PLACEHOLDERS, Piece, Problem, ProblemKind, VariableSpec, pieces,
};

use crate::{
    Dag, after::with_commands, jobs::Units, nearest::nearest, problem_at::problem_at, select::Chosen,
};

/// An argument `job#…` that cannot be given.
pub(crate) fn not_of_a_job(variable: &VariableSpec, argument: &Argument, word: &str) -> Problem {
    let name = &variable.name;
    let (message, hint) = if word == "outcome" {
        (
            format!("Argument {} of {name} asks for job#outcome, but {name} has no job", argument.name),
            "Give the variable one: @Variable(job=SlurmJob([...]))",
        )
    } else {
        (
            format!("Argument {} of {name} asks for job#{word}, which does not exist", argument.name),
            "There is job#outcome",
        )
    };
    problem_at(variable, ProblemKind::BadAnnotation, message, hint.to_owned())
}

/// What can be said of each command by itself and of the dependencies that it names.
pub(crate) fn commands(
    variables: &[VariableSpec],
    places: &HashMap<String, u32>,
    problems: &mut Vec<Problem>,
) {
    for variable in variables {
        let Some(job) = &variable.job else { continue };
        let name = &variable.name;
        if variable.transient {
            problems.push(problem_at(
                variable,
                ProblemKind::BadArgument,
                format!("{name} has a job and transient=True"),
                "What comes of a job is stored: leave out transient=True".to_owned(),
            ));
        }
        if let (Some(tasks), Some(nodes)) = (job.resources.ntasks, job.resources.nodes)
            && tasks < nodes
        {
            problems.push(problem_at(
                variable,
                ProblemKind::BadResources,
                format!("The job of {name} asks for nodes={nodes} and ntasks={tasks}: Slurm takes nodes away that have no task"),
                format!("ntasks={nodes}, or more"),
            ));
        }
        let mut told = HashSet::new();
        for word in &job.command {
            match pieces(word) {
                Err(lone) => problems.push(problem_at(
                    variable,
                    ProblemKind::BadArgument,
                    format!("The command of {name} has a brace that belongs to no placeholder: {lone}"),
                    "Write {{ and }} for braces that the command is to get".to_owned(),
                )),
                Ok(found) => {
                    for piece in found {
                        if let Piece::Placeholder(placeholder) = piece
                            && told.insert(placeholder)
                            && let Some((message, hint)) =
                                wrong_placeholder(variable, job, placeholder, variables, places)
                        {
                            problems.push(problem_at(variable, ProblemKind::BadArgument, message, hint));
                        }
                    }
                }
            }
        }
    }
}

/// Message and hint for a placeholder that cannot be filled.
fn wrong_placeholder(
    variable: &VariableSpec,
    job: &JobSpec,
    placeholder: &str,
    variables: &[VariableSpec],
    places: &HashMap<String, u32>,
) -> Option<(String, String)> {
    if PLACEHOLDERS.contains(&placeholder) {
        return None;
    }
    let name = &variable.name;
    let Some(argument) = variable.arguments.iter().find(|argument| argument.name == placeholder) else {
        let arguments = variable.arguments.iter().map(|argument| argument.name.as_str());
        let hint = match nearest(placeholder, PLACEHOLDERS.iter().copied().chain(arguments)) {
            Some(near) => format!("Did you mean {{{near}}}?"),
            None if places.contains_key(placeholder) => {
                format!("Give the function an argument {placeholder}: \"var#{placeholder}\"")
            }
            None => format!(
                "There are {{{}}}, and the arguments of the function; write {{{{ and }}}} for braces",
                PLACEHOLDERS.join("}, {")
            ),
        };
        return Some((format!("The command of {name} has an unknown placeholder {{{placeholder}}}"), hint));
    };
    let read_it =
        "Leave it out of the command and read it from {run_file} there, or return one number or text";
    match argument.dependency() {
        Dependency::Variable(of) => match places.get(of) {
            Some(&place) if variables[place as usize].transient => Some((
                format!(
                    "The command of {name} asks for {{{placeholder}}}, but {of} is transient: its value is in no file"
                ),
                format!(
                    "Leave out transient=True of {of}, or have another variable return what the command needs"
                ),
            )),
            None if of.contains(['*', '?', '[']) => Some((
                format!(
                    "The command of {name} asks for {{{placeholder}}}, which stands for several variables ({of})"
                ),
                read_it.to_owned(),
            )),
            _ => None,
        },
        Dependency::Job(_) => Some((
            format!(
                "The command of {name} asks for {{{placeholder}}}, which is known only when it has ended"
            ),
            "Leave it out of the command".to_owned(),
        )),
        Dependency::Mymdc(_) if !job.defaults.contains_key(placeholder) => Some((
            format!(
                "The command of {name} asks for {{{placeholder}}} from the metadata catalogue, which is not available"
            ),
            "Give the argument a default value".to_owned(),
        )),
        _ => None,
    }
}

/// Commands that are tied into one Slurm job with variables by values that cannot be stored.
pub(crate) fn tied(dag: &Dag, problems: &mut Vec<Problem>) {
    let count = dag.variables().len();
    let everything = Chosen {
        wanted: vec![true; count],
        runs: vec![true; count],
        left_out: Vec::new(),
        unmatched: Vec::new(),
    };
    let Some(with) = with_commands(dag, &everything) else { return };
    let units =
        Units::of(&with.dag.variables, &with.dag.graph, &with.dag.order, |at| with.dag.needs_cluster(at));
    for members in units.iter().filter(|members| members.len() > 1) {
        let ties: Vec<&str> = members
            .iter()
            .filter(|&&member| with.dag.variables[member as usize].transient)
            .map(|&member| with.dag.name(member))
            .collect();
        for &command in members.iter().filter(|&&member| member as usize >= count) {
            let variable = &with.dag.variables[command as usize];
            problems.push(problem_at(
                variable,
                ProblemKind::BadArgument,
                format!(
                    "The command of {} would have to run within another Slurm job, because of values that are not stored: {}",
                    variable.name,
                    ties.join(", ")
                ),
                "Leave out transient=True of these variables".to_owned(),
            ));
        }
    }
}
