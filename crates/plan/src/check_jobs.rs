//! Problems of the commands of variables (`job=SlurmJob(…)`).

use std::collections::{HashMap, HashSet};

use amore_model::{Argument, Dependency, PLACEHOLDERS, Piece, Problem, ProblemKind, VariableSpec, pieces};

use crate::{
    Dag, NodeNo, after::with_commands, jobs::Units, nearest::nearest, problem_at::problem_at, select::Chosen,
};

/// An invalid argument `job#…`.
pub(crate) fn not_of_a_job(variable: &VariableSpec, argument: &Argument, word: &str) -> Problem {
    let name = &variable.name;
    let (message, hint) = if word == "outcome" {
        (
            format!("Argument {} of {name} asks for job#outcome, but {name} has no job", argument.name),
            "Give the variable a job: @Variable(job=SlurmJob([...]))",
        )
    } else {
        (
            format!("Argument {} of {name} asks for job#{word}, which does not exist", argument.name),
            "There is job#outcome",
        )
    };
    problem_at(variable, ProblemKind::BadAnnotation, message, hint.to_owned())
}

/// Checks each command and the dependencies that it names.
pub(crate) fn commands(
    variables: &[VariableSpec],
    by_name: &HashMap<String, NodeNo>,
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
                "Results of a job are stored: remove transient=True".to_owned(),
            ));
        }
        if let (Some(tasks), Some(nodes)) = (job.resources.ntasks, job.resources.nodes)
            && tasks < nodes
        {
            problems.push(problem_at(
                variable,
                ProblemKind::BadResources,
                format!("The job of {name} requests nodes={nodes} and ntasks={tasks}: Slurm removes nodes without tasks"),
                format!("ntasks={nodes}, or more"),
            ));
        }
        let mut told = HashSet::new();
        for word in &job.command {
            match pieces(word) {
                Err(lone) => problems.push(problem_at(
                    variable,
                    ProblemKind::BadArgument,
                    format!("The command of {name} has a brace outside of a placeholder: {lone}"),
                    "Write {{ and }} for literal braces".to_owned(),
                )),
                Ok(found) => {
                    for piece in found {
                        if let Piece::Placeholder(placeholder) = piece
                            && told.insert(placeholder)
                            && let Some((message, hint)) =
                                wrong_placeholder(variable, placeholder, variables, by_name)
                        {
                            problems.push(problem_at(variable, ProblemKind::BadArgument, message, hint));
                        }
                    }
                }
            }
        }
    }
}

/// Message and hint for a placeholder without a value.
fn wrong_placeholder(
    variable: &VariableSpec,
    placeholder: &str,
    variables: &[VariableSpec],
    by_name: &HashMap<String, NodeNo>,
) -> Option<(String, String)> {
    if PLACEHOLDERS.contains(&placeholder) {
        return None;
    }
    let name = &variable.name;
    let Some(argument) = variable.arguments.iter().find(|argument| argument.name == placeholder) else {
        let arguments = variable.arguments.iter().map(|argument| argument.name.as_str());
        let hint = match nearest(placeholder, PLACEHOLDERS.iter().copied().chain(arguments)) {
            Some(near) => format!("Did you mean {{{near}}}?"),
            None if by_name.contains_key(placeholder) => {
                format!("Give the function an argument {placeholder}: \"var#{placeholder}\"")
            }
            None => format!(
                "Placeholders are {{{}}} and the arguments of the function; write {{{{ and }}}} for literal braces",
                PLACEHOLDERS.join("}, {")
            ),
        };
        return Some((format!("The command of {name} has an unknown placeholder {{{placeholder}}}"), hint));
    };
    let read_it = "Remove it from the command and let the command read it from {run_file}, or return a single number or text";
    match argument.dependency() {
        Dependency::Variable(of) => match by_name.get(of) {
            Some(&node) if variables[node.index()].transient => Some((
                format!(
                    "The command of {name} uses {{{placeholder}}}, but {of} is transient: its value is not stored"
                ),
                format!(
                    "Remove transient=True from {of}, or let another variable return what the command needs"
                ),
            )),
            None if of.contains(['*', '?', '[']) => Some((
                format!(
                    "The command of {name} uses {{{placeholder}}}, which stands for several variables ({of})"
                ),
                read_it.to_owned(),
            )),
            _ => None,
        },
        Dependency::Job(_) => Some((
            format!(
                "The command of {name} uses {{{placeholder}}}, which is only known when the command has ended"
            ),
            "Remove it from the command".to_owned(),
        )),
        Dependency::Mymdc("techniques") => Some((
            format!("The command of {name} uses {{{placeholder}}}, but mymdc#techniques is a list"),
            "Remove it from the command, or let another variable return a number or text from it".to_owned(),
        )),
        _ => None,
    }
}

/// Commands that values which cannot be stored would tie to a Slurm job of other variables.
pub(crate) fn tied(dag: &Dag, problems: &mut Vec<Problem>) {
    let everything = Chosen {
        wanted: dag.table(true),
        runs: dag.table(true),
        left_out: Vec::new(),
        unmatched: Vec::new(),
    };
    let Some(with) = with_commands(dag, &everything) else { return };
    let units =
        Units::of(&with.dag.variables, &with.dag.graph, &with.dag.order, |at| with.dag.needs_cluster(at));
    for members in units.iter().filter(|members| members.len() > 1) {
        let ties: Vec<&str> = members
            .iter()
            .filter(|&&member| with.dag.variable(member).transient)
            .map(|&member| with.dag.name(member))
            .collect();
        for &command in members.iter().filter(|&&member| with.dag.is_command(member)) {
            let variable = with.dag.variable(command);
            problems.push(problem_at(
                variable,
                ProblemKind::BadArgument,
                format!(
                    "The command of {} would have to run inside another Slurm job, because of values that are not stored: {}",
                    variable.name,
                    ties.join(", ")
                ),
                "Remove transient=True from these variables".to_owned(),
            ));
        }
    }
}
