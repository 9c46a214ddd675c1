//! The process that reads one value: a question on its standard input, the answer on its standard output.

use std::io::{self, BufRead, Write};

use amore_results::{
    Answer, Colors, DisplayError, Form, Limits, Part, ResultsError, Selection, SelectionError, ValueOf,
};
use nix::sys::resource::{Resource, setrlimit};
use serde_json::json;

use super::question::{Ask, AskedForm, Head, Question, Refused, Why};

/// Address space of the process: a damaged or malicious file must not take the host's memory.
const MEMORY: u64 = 4 << 30;
/// The longest question.
const LONGEST_QUESTION: u64 = 1 << 20;

/// Answers one question.
///
/// # Errors
/// The question cannot be read, the answer cannot be written, or a file fails after the answer has begun; then it is too short.
pub fn serve(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = String::new();
    input.take(LONGEST_QUESTION).read_line(&mut line)?;
    let question: Question = serde_json::from_str(&line)?;
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?;
    match answer(&question) {
        Err(refused) => head(&mut output, &Head::Refused(refused))?,
        Ok(Answered::Head(answer)) => head(&mut output, &answer)?,
        Ok(Answered::Content(content, version)) => {
            let (media_type, length, range) = match &content {
                Answer::Json(_) => ("application/json", None, None),
                Answer::Png { file, range } => ("image/png", Some(file.len() as u64), *range),
                Answer::Pieces { media_type, pieces } => (*media_type, Some(pieces.total()), None),
            };
            let json = if let Answer::Json(json) = &content { json.to_string() } else { String::new() };
            let (media_type, length) = (media_type.to_owned(), length.unwrap_or(json.len() as u64));
            head(&mut output, &Head::Content { media_type, length, range, version })?;
            match content {
                Answer::Json(_) => output.write_all(json.as_bytes())?,
                Answer::Png { file, .. } => output.write_all(&file)?,
                Answer::Pieces { mut pieces, .. } => {
                    while let Some(piece) = pieces.next_piece().map_err(io::Error::other)? {
                        output.write_all(&piece)?;
                    }
                }
            }
        }
    }
    output.flush()
}

fn head(output: &mut impl Write, head: &Head) -> io::Result<()> {
    serde_json::to_writer(&mut *output, head)?;
    output.write_all(b"\n")
}

enum Answered {
    Head(Head),
    Content(Answer, String),
}

fn answer(question: &Question) -> Result<Answered, Refused> {
    let value = ValueOf {
        extracted_data: &question.extracted_data,
        proposal: question.proposal,
        run: question.run,
        variable: &question.variable,
        part: if question.preview { Part::Preview } else { Part::Value },
    };
    match &question.ask {
        Ask::Describe => {
            let (description, provenance) =
                (value.describe().map_err(refused)?, value.provenance().map_err(refused)?);
            if description.is_none() && provenance.is_none() {
                return Ok(Answered::Head(Head::Nothing));
            }
            Ok(Answered::Head(Head::Described {
                description: description.map(|description| json!(description)),
                provenance: provenance.map(|provenance| json!(provenance)),
            }))
        }
        Ask::Read { array, slice, form, bytes } => {
            let selection: Selection =
                slice.parse().map_err(|error: SelectionError| refused(error.into()))?;
            let form = match *form {
                AskedForm::Json { points } => Form::Json { points },
                AskedForm::Npy => Form::Npy,
                AskedForm::Png { range, gray, size } => {
                    let colors = gray.map(|gray| if gray { Colors::Gray } else { Colors::Viridis });
                    Form::Png { range, colors, size }
                }
                AskedForm::File => Form::File,
            };
            let read = value.read(array.as_deref(), &selection, &form, Limits { bytes: *bytes });
            let read = read.map_err(refused)?;
            Ok(read.map_or(Answered::Head(Head::Nothing), |(answer, version)| {
                Answered::Content(answer, version)
            }))
        }
    }
}

fn refused(error: DisplayError) -> Refused {
    let why = match &error {
        DisplayError::File(ResultsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Why::NoFile
        }
        DisplayError::File(_) | DisplayError::Outside { .. } => Why::File,
        DisplayError::Name(_)
        | DisplayError::Array { .. }
        | DisplayError::Selection(_)
        | DisplayError::Drawing { .. } => Why::Question,
        DisplayError::Form { .. } => Why::Form,
        DisplayError::TooLarge { .. } => Why::TooLarge,
    };
    Refused { why, hint: error.hint(), message: error.to_string() }
}
