//! Conversion of values from the shared memory to the form stored in run files.

use std::{io, path::Path, time::Instant};

use amore_model::{Proposal, Run};
use amore_results as results;
use amore_wire::host::{self, Array, Content, FromChild, Layout, StoredObject, ToChild, ValueMessage};

use crate::{
    lines::Received,
    shared_memory::{SLOT_BYTES, SharedMemory},
    value_channel::ValueChannel,
};

/// Why a value could not be received.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The child ended or violated the protocol during the transfer.
    #[error("the child aborted the transfer: {0}")]
    Child(#[source] io::Error),
    /// It exceeded its time limit.
    #[error("the value was not transferred in time")]
    TimedOut,
    /// It cannot be stored; the child is fine, and the value was read to its end.
    #[error(transparent)]
    Storage(#[from] results::ResultsError),
}

fn broken(what: impl Into<String>) -> TakeError {
    TakeError::Child(io::Error::new(io::ErrorKind::InvalidData, what.into()))
}

/// Where the arrays of a value are, in the order of the message.
#[derive(Debug, Default)]
pub struct Streamed {
    arrays: Vec<Taken>,
}

/// Returns them in order.
type Rest<'a> = std::slice::Iter<'a, Taken>;

#[derive(Debug)]
enum Taken {
    /// In the message, or still in the shared memory.
    InPlace,
    /// Received as a stream.
    Here(Vec<u8>),
    /// In a separate file.
    Apart(results::LargeArray),
}

enum Sink {
    Small(Vec<u8>),
    Large(Box<results::LargeArrayWriter>),
    /// Storing failed; the rest is read and discarded, to keep the protocol in step.
    Failed(results::ResultsError),
}

/// Receives all streamed arrays of a value, and stores large arrays separately.
pub fn take_streams(
    channel: &mut ValueChannel,
    message: &ValueMessage,
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    deadline: Option<Instant>,
) -> Result<Streamed, TakeError> {
    let mut streamed = Streamed::default();
    let mut failure = None;
    for (array, compress) in arrays(message) {
        let dtype = array.dtype.parse::<results::Dtype>();
        if array.content != Content::Stream {
            let is_summary = message.summary.as_ref().is_some_and(|summary| std::ptr::eq(array, summary));
            let taken = match (&array.content, dtype) {
                (Content::Shm { offset, bytes }, Ok(dtype)) if !is_summary && is_apart(&dtype, *bytes) => {
                    let content = channel.memory.bytes(*offset, *bytes).ok_or_else(|| {
                        broken(format!("{bytes} bytes at {offset}: outside the shared memory"))
                    })?;
                    let apart = || {
                        let shape = &array.shape;
                        let name = &message.name;
                        let mut writer = results::LargeArrayWriter::create(
                            extracted_data,
                            proposal,
                            run,
                            name,
                            dtype,
                            shape,
                            compress,
                        )?;
                        writer.write(content)?;
                        writer.finish()
                    };
                    apart().map(Taken::Apart)
                }
                _ => Ok(Taken::InPlace),
            };
            match taken {
                Ok(taken) => streamed.arrays.push(taken),
                Err(error) => failure = failure.or(Some(error)),
            }
            continue;
        }
        let size = dtype.as_ref().ok().and_then(results::Dtype::item_size);
        let size = size.or_else(|| unstorable_size(&array.dtype));
        let Some(size) = size else { return Err(broken(format!("a stream of {}", array.dtype))) };
        let expected = array.shape.iter().product::<u64>() * size as u64;
        let mut sink = match dtype {
            Ok(dtype) if is_apart(&dtype, expected) => {
                let writer = results::LargeArrayWriter::create(
                    extracted_data,
                    proposal,
                    run,
                    &message.name,
                    dtype,
                    &array.shape,
                    compress,
                );
                writer.map_or_else(Sink::Failed, |writer| Sink::Large(Box::new(writer)))
            }
            Ok(_) => Sink::Small(Vec::with_capacity(expected as usize)),
            Err(error) => Sink::Failed(error.into()),
        };
        let mut received = 0;
        while received < expected {
            match channel.listen(deadline).map_err(TakeError::Child)? {
                Received::Message(FromChild::Chunk { slot, bytes }) => {
                    let content = channel
                        .memory
                        .bytes(u64::from(slot) * SLOT_BYTES, bytes)
                        .filter(|_| bytes <= SLOT_BYTES && bytes > 0)
                        .ok_or_else(|| broken(format!("slot {slot} with {bytes} bytes")))?;
                    received += bytes;
                    match &mut sink {
                        Sink::Small(all) => all.extend_from_slice(content),
                        Sink::Large(writer) => {
                            if let Err(error) = writer.write(content) {
                                sink = Sink::Failed(error);
                            }
                        }
                        Sink::Failed(_) => {}
                    }
                    channel.say(&ToChild::Free { slot }).map_err(TakeError::Child)?;
                }
                Received::Message(other) => return Err(broken(format!("{other:?} inside a stream"))),
                Received::TimedOut => return Err(TakeError::TimedOut),
                Received::Closed => return Err(TakeError::Child(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let array = match sink {
            Sink::Small(all) => Ok(Taken::Here(all)),
            Sink::Large(writer) => writer.finish().map(Taken::Apart),
            Sink::Failed(error) => Err(error),
        };
        match array {
            Ok(array) => streamed.arrays.push(array),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(streamed), |error| Err(error.into()))
}

/// Whether an array of this size is stored in a separate file. Not if its loss could not be detected.
fn is_apart(dtype: &results::Dtype, bytes: u64) -> bool {
    bytes >= results::LARGE && dtype.can_be_missing()
}

/// All arrays of a value in the order in which they are streamed, and whether they are compressed.
fn arrays(message: &ValueMessage) -> Vec<(&Array, bool)> {
    let mut all = Vec::new();
    for stored in [&message.data, &message.preview].into_iter().flatten() {
        match &stored.layout {
            Layout::Plain { array } => all.push((array, false)),
            Layout::Netcdf { variables, .. } => {
                all.extend(variables.iter().map(|variable| (&variable.array, variable.compress)));
            }
        }
    }
    all.extend(message.summary.iter().map(|array| (array, false)));
    all
}

/// Assembles the value for storing; borrows from the shared memory.
///
/// # Errors
/// A type that cannot be stored, or a description that does not fit the memory.
pub fn assemble<'a>(
    message: &'a ValueMessage,
    memory: &'a SharedMemory,
    streamed: &'a Streamed,
) -> Result<results::Value<'a>, TakeError> {
    let mut rest = streamed.arrays.iter();
    let data = message.data.as_ref().map(|stored| object(stored, memory, &mut rest)).transpose()?;
    let preview = message.preview.as_ref().map(|stored| object(stored, memory, &mut rest)).transpose()?;
    let summary = message.summary.as_ref().map(|summary| array(summary, memory, &mut rest)).transpose()?;
    Ok(results::Value {
        data,
        preview,
        summary,
        attrs: results::SummaryAttrs {
            max_diff: message.max_diff,
            summary_method: message.summary_method.clone(),
            summary_type: message.summary_type.clone(),
            bold: message.bold,
            background: message.background,
            units: message.units.clone(),
        },
    })
}

fn object<'a>(
    stored: &'a StoredObject,
    memory: &'a SharedMemory,
    streamed: &mut Rest<'a>,
) -> Result<results::Object<'a>, TakeError> {
    let layout = match &stored.layout {
        Layout::Plain { array: plain } => results::Layout::Plain(array(plain, memory, streamed)?),
        Layout::Netcdf { dims, variables, attrs } => results::Layout::Netcdf {
            dims: dims.iter().map(|dim| results::Dim { name: dim.name.clone(), size: dim.size }).collect(),
            variables: variables
                .iter()
                .map(|variable| {
                    Ok(results::NetcdfVariable {
                        name: variable.name.clone(),
                        dims: variable.dims.clone(),
                        compress: variable.compress,
                        attrs: attributes(&variable.attrs)?,
                        array: array(&variable.array, memory, streamed)?,
                    })
                })
                .collect::<Result<_, TakeError>>()?,
            attrs: attributes(attrs)?,
        },
    };
    Ok(results::Object { objtype: stored.objtype.clone(), layout, returned: stored.returned.clone() })
}

fn attributes(attrs: &[(String, host::Attr)]) -> Result<Vec<(String, results::Attr)>, TakeError> {
    attrs
        .iter()
        .map(|(name, attr)| {
            let attr = match attr {
                host::Attr::Text { value } => results::Attr::Text(value.clone()),
                host::Attr::Texts { value } => results::Attr::Texts(value.clone()),
                host::Attr::Numbers { dtype, shape, hex } => results::Attr::Numbers {
                    dtype: dtype.parse::<results::Dtype>().map_err(results::ResultsError::from)?,
                    shape: shape.clone(),
                    bytes: hex::decode(hex)
                        .map_err(|error| broken(format!("attribute {name:?} is not hexadecimal: {error}")))?,
                },
            };
            Ok((name.clone(), attr))
        })
        .collect()
}

fn array<'a>(
    array: &'a Array,
    memory: &'a SharedMemory,
    streamed: &mut Rest<'a>,
) -> Result<results::ArrayData<'a>, TakeError> {
    let content = match (streamed.next(), &array.content) {
        (Some(Taken::Here(all)), _) => results::Content::Bytes(all),
        (Some(Taken::Apart(large)), _) => results::Content::Large(large.clone()),
        (Some(Taken::InPlace), Content::Shm { offset, bytes }) => results::Content::Bytes(
            memory
                .bytes(*offset, *bytes)
                .ok_or_else(|| broken(format!("{bytes} bytes at {offset}: outside the shared memory")))?,
        ),
        (Some(Taken::InPlace), Content::Text { strings }) => results::Content::Text(strings.clone()),
        (Some(Taken::InPlace), Content::Stream) | (None, _) => {
            return Err(broken("fewer arrays than announced"));
        }
    };
    Ok(results::ArrayData {
        dtype: array.dtype.parse::<results::Dtype>().map_err(results::ResultsError::from)?,
        shape: array.shape.clone(),
        content,
    })
}

/// Size of an element that cannot be stored but is still sent, so that the stream can be read to its end.
fn unstorable_size(dtype: &str) -> Option<usize> {
    if dtype.starts_with('{') {
        let record: serde_json::Value = serde_json::from_str(dtype).ok()?;
        return record.get("size")?.as_u64()?.try_into().ok();
    }
    dtype.get(2..)?.split('[').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::unstorable_size;

    #[test]
    fn what_cannot_be_stored_can_be_measured() {
        assert_eq!(unstorable_size("<M8[ns]"), Some(8));
        assert_eq!(unstorable_size(r#"{"size": 12, "fields": []}"#), Some(12));
        assert_eq!(unstorable_size("{"), None);
    }
}
