//! A value in the form that was asked for.

use serde_json::{Value as Json, json};

use super::{
    DisplayError, Selection,
    buckets::{Buckets, NotOfNumbers, Numbers},
    contained::RunFile,
    element::{element_json, nested},
    grid::{Grid, within},
    means::Means,
    picture::{self, Colors, Shrunk},
    selection::Selected,
    stored::{ArrayDescription, Content, Found, Object, ObjectKind},
};
use crate::{
    dtype::Dtype,
    error::{InFile, ResultsError},
    h5::Part,
    npy,
    number::Number,
    text::without_padding,
};

/// Form in which a value is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// JSON: all elements if they are at most so many, otherwise extremes of so many buckets.
    Json {
        /// The number.
        points: u64,
    },
    /// A `.npy` file.
    Npy,
    /// A PNG image.
    Png {
        /// Numbers that get the first and the last colour; default: the extremes of what is drawn.
        range: Option<(f64, f64)>,
        /// The colours of numbers.
        colors: Option<Colors>,
        /// Largest number of pixels of the longer side.
        size: u64,
    },
    /// The file that is stored: of a table (parquet), of a figure (JSON).
    File,
}

/// How much may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an array, before fewer points are made of them.
    pub bytes: u64,
}

/// What was read.
#[derive(Debug)]
pub enum Answer {
    /// JSON.
    Json(Json),
    /// A PNG image, and the numbers of its first and last colour if it shows numbers.
    Png {
        /// The image.
        file: Vec<u8>,
        /// The numbers.
        range: Option<(f64, f64)>,
    },
    /// A file, in pieces.
    Pieces {
        /// Its type.
        media_type: &'static str,
        /// Its content.
        pieces: Pieces,
    },
}

/// Bytes that are read while they are passed on.
#[derive(Debug)]
pub struct Pieces {
    file: RunFile,
    name: String,
    content: Content,
    dtype: Dtype,
    first: Vec<u8>,
    rest: std::vec::IntoIter<Selected>,
    total: u64,
}

/// Bytes of an array that are in memory at once.
const PIECE: u64 = 4 << 20;
/// Bytes of a text in an array, for limits: its length is not known before it is read.
const TEXT: u64 = 64;
/// The largest figure that is put into an answer in JSON.
const LARGEST_FIGURE: u64 = 64 << 20;

impl Pieces {
    /// Number of all bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The array cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, DisplayError> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        let Some(selected) = self.rest.next() else { return Ok(None) };
        bytes_of(&self.file, &self.name, &self.content, &self.dtype, &selected).map(Some)
    }
}

fn part(selected: &Selected) -> Part<'_> {
    Part { start: &selected.start, step: &selected.step, count: &selected.count }
}

fn bytes_of(
    file: &RunFile,
    name: &str,
    content: &Content,
    dtype: &Dtype,
    selected: &Selected,
) -> Result<Vec<u8>, DisplayError> {
    let bytes = content.node.read_part(&part(selected)).map_err(|error| ResultsError::Damaged {
        path: file.path().to_owned(),
        reason: format!("{name}: {error}"),
    })?;
    // h5py's and xarray's truth values may be any byte but 0.
    Ok(if *dtype == Dtype::Bool {
        bytes.into_iter().map(|byte| u8::from(byte != 0)).collect()
    } else {
        bytes
    })
}

/// An array, the part of it that is wanted, and the types of both.
struct Wanted<'a> {
    file: RunFile,
    variable: &'a str,
    kind: ObjectKind,
    about: ArrayDescription,
    content: Content,
    dtype: Dtype,
    missing: Vec<Number>,
    selected: Selected,
}

pub(super) fn read(
    file: RunFile,
    object: Object,
    variable: &str,
    array: Option<&str>,
    selection: &Selection,
    form: &Form,
    limits: Limits,
) -> Result<Answer, DisplayError> {
    let kind = object.kind.clone();
    let Found { about, missing, content } = object.array(&file, variable, array)?;
    let Some(dtype) = about.dtype.clone() else {
        let why = "its type is a record or another that is not shown; read the run file with h5py".to_owned();
        return Err(DisplayError::Form { variable: variable.to_owned(), form: words(form), why });
    };
    let selected = selection.of(&about.shape)?;
    let wanted = Wanted { file, variable, kind, about, content, dtype, missing, selected };
    if wanted.about.empty {
        return wanted.nothing(form);
    }
    let size = wanted.dtype.item_size().map_or(TEXT, |size| size as u64);
    let bytes = wanted.selected.elements().saturating_mul(size);
    if bytes > limits.bytes {
        return Err(DisplayError::TooLarge { bytes, most: limits.bytes });
    }
    match (form, &wanted.kind) {
        (Form::Json { .. }, ObjectKind::Series | ObjectKind::DataFrame) => {
            Err(wanted.not_as(form, "it is a table, stored as a parquet file; ask for that"))
        }
        (Form::Json { .. }, ObjectKind::Figure) => wanted.figure(form),
        (Form::Json { points }, _) if wanted.dtype == Dtype::Text => wanted.texts(*points),
        (Form::Json { points }, _) => wanted.numbers(*points),
        (Form::Npy, _) if wanted.dtype == Dtype::Text => {
            Err(wanted.not_as(form, "numpy has no type for text of any length; ask for JSON"))
        }
        (Form::Npy, _) => {
            let header = npy::header(&wanted.dtype, &wanted.selected.shape());
            Ok(wanted.pieces("application/x-npy", header))
        }
        (Form::File, ObjectKind::Series | ObjectKind::DataFrame) => {
            Ok(wanted.pieces("application/vnd.apache.parquet", Vec::new()))
        }
        (Form::File, ObjectKind::Figure) => Ok(wanted.pieces("application/json", Vec::new())),
        (Form::File, _) => Err(wanted.not_as(form, "it is not stored as a file")),
        (Form::Png { range, colors, size }, _) => wanted.picture(form, *range, *colors, *size),
    }
}

fn words(form: &Form) -> &'static str {
    match form {
        Form::Json { .. } => "JSON",
        Form::Npy => "a .npy file",
        Form::Png { .. } => "a PNG image",
        Form::File => "a file",
    }
}

impl Wanted<'_> {
    fn not_as(&self, form: &Form, why: impl Into<String>) -> DisplayError {
        DisplayError::Form { variable: self.variable.to_owned(), form: words(form), why: why.into() }
    }

    /// What is stored without elements and without a shape.
    fn nothing(&self, form: &Form) -> Result<Answer, DisplayError> {
        if !matches!(form, Form::Json { .. }) {
            return Err(
                self.not_as(form, "it is empty (h5py.Empty), without elements and shape; ask for JSON")
            );
        }
        let mut answer = self.about();
        answer["shape"] = Json::Null;
        answer["data"] = Json::Null;
        Ok(Answer::Json(answer))
    }

    fn pieces(self, media_type: &'static str, first: Vec<u8>) -> Answer {
        let size = self.dtype.item_size().unwrap_or(1).max(1) as u64;
        let total = first.len() as u64 + self.selected.elements() * size;
        let rest = self.selected.parts(PIECE / size.min(PIECE)).into_iter();
        let Wanted { file, about, content, dtype, .. } = self;
        Answer::Pieces {
            media_type,
            pieces: Pieces { file, name: about.name, content, dtype, first, rest, total },
        }
    }

    /// Everything that is selected, piece by piece.
    fn each(&self, mut take: impl FnMut(&[u8]) -> Result<(), DisplayError>) -> Result<(), DisplayError> {
        let size = self.dtype.item_size().unwrap_or(1).max(1) as u64;
        for selected in self.selected.parts(PIECE / size.min(PIECE)) {
            take(&bytes_of(&self.file, &self.about.name, &self.content, &self.dtype, &selected)?)?;
        }
        Ok(())
    }

    fn all(&self) -> Result<Vec<u8>, DisplayError> {
        let mut all = Vec::new();
        self.each(|bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(all)
    }

    fn as_numbers(&self) -> Numbers {
        Numbers { dtype: self.dtype.clone(), missing: self.missing.clone() }
    }

    /// No type of those that are read gets here; if one does, it must not be shown as something else.
    fn not_of_numbers(&self, form: &Form) -> DisplayError {
        self.not_as(form, format!("elements of type {} are not numbers", self.dtype))
    }

    /// What every answer in JSON says.
    fn about(&self) -> Json {
        let dims = self.about.dims.iter().zip(&self.selected.kept);
        let dims: Vec<&String> = dims.filter_map(|(dim, kept)| kept.then_some(dim)).collect();
        let mut about = json!({
            "kind": self.kind, "array": self.about.name, "dtype": self.dtype, "shape": self.selected.shape(),
        });
        if !dims.is_empty() {
            about["dims"] = json!(dims);
        }
        if !self.about.attributes.is_empty() {
            about["attributes"] = json!(self.about.attributes);
        }
        about
    }

    fn numbers(self, points: u64) -> Result<Answer, DisplayError> {
        let (mut answer, form) = (self.about(), Form::Json { points });
        let shape = self.selected.shape();
        if self.selected.elements() <= points.max(1) {
            let elements = self.elements(&form)?;
            answer["data"] = nested(&shape, &mut elements.into_iter());
        } else if matches!(self.dtype, Dtype::Bytes { .. }) {
            return Err(self.too_many(points));
        } else {
            let grid = Grid::new(&shape, within(&shape, points));
            let mut buckets = Buckets::new(self.as_numbers(), grid);
            self.each(|bytes| buckets.add(bytes).map_err(|NotOfNumbers| self.not_of_numbers(&form)))?;
            answer["extremes"] = buckets.extremes();
        }
        Ok(Answer::Json(answer))
    }

    /// All that is selected, in JSON.
    fn elements(&self, form: &Form) -> Result<Vec<Json>, DisplayError> {
        let all = self.all()?;
        let size = self.dtype.item_size().unwrap_or(1).max(1);
        let elements = all.chunks_exact(size).map(|bytes| element_json(&self.dtype, bytes).ok_or(bytes));
        elements.collect::<Result<_, _>>().map_err(|bytes| match self.dtype {
            Dtype::Bytes { .. } => self.not_text(form, without_padding(bytes), "format=npy gives the bytes"),
            _ => self.not_of_numbers(form),
        })
    }

    fn not_text(&self, form: &Form, bytes: &[u8], instead: &str) -> DisplayError {
        self.not_as(form, format!("b\"{}\" is not text in UTF-8; {instead}", bytes.escape_ascii()))
    }

    fn texts(self, points: u64) -> Result<Answer, DisplayError> {
        if self.selected.elements() > points.max(1) {
            return Err(self.too_many(points));
        }
        let (mut answer, form) = (self.about(), Form::Json { points });
        let texts = self.content.node.read_text_part(&part(&self.selected)).reading(self.file.path())?;
        let texts = texts.into_iter().map(|text| {
            let text = String::from_utf8(text).map(Json::String);
            text.map_err(|error| self.not_text(&form, error.as_bytes(), "read the run file with h5py"))
        });
        let texts: Vec<Json> = texts.collect::<Result<_, _>>()?;
        answer["data"] = nested(&self.selected.shape(), &mut texts.into_iter());
        Ok(Answer::Json(answer))
    }

    /// Text has no extremes.
    fn too_many(&self, points: u64) -> DisplayError {
        let size = self.dtype.item_size().map_or(TEXT, |size| size as u64);
        DisplayError::TooLarge { bytes: self.selected.elements() * size, most: points.max(1) * size }
    }

    fn figure(self, form: &Form) -> Result<Answer, DisplayError> {
        if self.selected.elements() > LARGEST_FIGURE {
            return Err(DisplayError::TooLarge { bytes: self.selected.elements(), most: LARGEST_FIGURE });
        }
        let figure: Json = serde_json::from_slice(&self.all()?)
            .map_err(|error| self.not_as(form, format!("the stored figure is not JSON: {error}")))?;
        Ok(Answer::Json(json!({"kind": self.kind, "figure": figure})))
    }

    fn picture(
        self,
        form: &Form,
        range: Option<(f64, f64)>,
        colors: Option<Colors>,
        size: u64,
    ) -> Result<Answer, DisplayError> {
        let shape = self.selected.shape();
        let is_byte = matches!(self.dtype, Dtype::Int { bytes: 1, signed: false, .. });
        match *shape.as_slice() {
            [_, _] | [_, _, _] if shape.contains(&0) => Err(self.not_as(form, "it is empty")),
            [_, _, 3 | 4] if is_byte && (range.is_some() || colors.is_some()) => {
                let why = "it has its own colours; range and colors are for numbers";
                Err(DisplayError::Drawing { variable: self.variable.to_owned(), why })
            }
            [rows, columns, channels @ (3 | 4)] if is_byte => {
                self.colors(form, [rows, columns], channels, size.max(1))
            }
            [rows, columns]
                if self.dtype.item_size().is_some() && !matches!(self.dtype, Dtype::Bytes { .. }) =>
            {
                self.map(form, [rows, columns], range, colors.unwrap_or_default(), size.max(1))
            }
            _ => Err(self.not_as(
                form,
                format!("shape {shape:?} of type {} is not a picture; select two axes", self.dtype),
            )),
        }
    }

    /// A picture with its own colours.
    fn colors(&self, form: &Form, shape: [u64; 2], channels: u64, size: u64) -> Result<Answer, DisplayError> {
        let pixels = picture::fitting(shape[0], shape[1], size);
        let drawn = if pixels == shape {
            self.all()?
        } else {
            let mut shrunk = Shrunk::new(Grid::new(&shape, pixels.to_vec()), channels as usize);
            self.each(|bytes| {
                shrunk.add(bytes);
                Ok(())
            })?;
            shrunk.pixels()
        };
        self.png(form, pixels, channels, &drawn, None)
    }

    /// A picture of numbers.
    fn map(
        &self,
        form: &Form,
        shape: [u64; 2],
        range: Option<(f64, f64)>,
        colors: Colors,
        size: u64,
    ) -> Result<Answer, DisplayError> {
        let pixels = picture::fitting(shape[0], shape[1], size);
        let mut means = Means::new(self.as_numbers(), Grid::new(&shape, pixels.to_vec()));
        self.each(|bytes| means.add(bytes).map_err(|NotOfNumbers| self.not_of_numbers(form)))?;
        let scaled = means.scaled(range);
        let drawn = picture::colored(&scaled.values, scaled.range, colors);
        self.png(form, pixels, 4, &drawn, Some(scaled.numbers))
    }

    fn png(
        &self,
        form: &Form,
        [rows, columns]: [u64; 2],
        channels: u64,
        drawn: &[u8],
        range: Option<(f64, f64)>,
    ) -> Result<Answer, DisplayError> {
        let side = |length: u64| u32::try_from(length).map_err(|_| self.not_as(form, "it is too large"));
        let file = picture::png(side(columns)?, side(rows)?, channels, drawn);
        Ok(Answer::Png { file: file.map_err(|error| self.not_as(form, error))?, range })
    }
}
