//! What is stored of a variable: its arrays with their types, dimensions and attributes.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{DisplayError, contained::RunFile};
use crate::{
    dtype::Dtype,
    error::InFile,
    h5::{File, Held, Kind, Node, Token},
    names::{OBJTYPE, PREVIEW, RETURNED, check_variable},
    netcdf::{NOT_A_COORDINATE, OWN_ATTRIBUTES},
    number::Number,
    reduced::to_json,
};

/// What of a variable is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Its value.
    #[default]
    Value,
    /// What the function gave to be shown instead.
    Preview,
}

/// Kind of a stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// One number or text.
    Scalar,
    /// An array without names.
    Array,
    /// An `xarray.DataArray`: one array, and coordinates.
    DataArray,
    /// An `xarray.Dataset`: several arrays, and coordinates.
    Dataset,
    /// A picture: rows, columns, RGBA.
    Image,
    /// A plotly figure: its JSON as bytes.
    Figure,
    /// A `pandas.Series`: a parquet file as bytes.
    Series,
    /// A `pandas.DataFrame`: a parquet file as bytes.
    DataFrame,
    /// A point in time, in seconds since 1970.
    Timestamp,
    /// Of a kind that this version does not know.
    Other,
}

/// A stored object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its arrays; coordinates last.
    pub arrays: Vec<ArrayDescription>,
    /// Attributes of a dataset.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Json>,
}

/// A stored array.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArrayDescription {
    /// Its name.
    pub name: String,
    /// Its type, as in `numpy.dtype.str`; `str` for text; none if this version cannot read it.
    pub dtype: Option<Dtype>,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Whether it has neither elements nor a shape (`h5py.Empty`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
    /// Names of its dimensions, if they have names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dims: Vec<String>,
    /// Whether it is a coordinate of others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub coordinate: bool,
    /// Its attributes: `units`, and how it is encoded.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Json>,
}

/// An array and where its content is.
#[derive(Debug)]
pub(super) struct Found {
    pub about: ArrayDescription,
    /// Elements that stand for no number.
    pub missing: Vec<Number>,
    pub content: Content,
}

/// A dataset, and its file if that is not the run file.
#[derive(Debug)]
pub(super) struct Content {
    // Closed before its file.
    pub node: Node,
    pub _file: Option<File>,
}

/// A stored object, opened.
#[derive(Debug)]
pub(super) struct Object {
    pub kind: ObjectKind,
    attributes: Map<String, Json>,
    group: Option<Node>,
    arrays: Vec<(ArrayDescription, Node)>,
}

impl Object {
    /// The value or preview of a variable; `None` if it has none.
    pub fn find(file: &RunFile, variable: &str, part: Part) -> Result<Option<Object>, DisplayError> {
        check_variable(variable)?;
        let place = match part {
            Part::Value => None,
            Part::Preview => match file.member(file.root(), PREVIEW)? {
                Some(group) => Some(group),
                None => return Ok(None),
            },
        };
        let Some(node) = file.member(place.as_ref().unwrap_or(file.root()), variable)? else {
            return Ok(None);
        };
        let objtype = node.text_attribute(OBJTYPE).reading(file.path())?;
        let objtype = objtype.as_deref();
        if node.kind() == Kind::Dataset {
            return plain(file, objtype, "data", node).map(Some);
        }
        match objtype {
            Some("dataarray") => netcdf(file, ObjectKind::DataArray, node).map(Some),
            Some("dataset") => netcdf(file, ObjectKind::Dataset, node).map(Some),
            _ => match file.member(&node, "data")? {
                Some(data) if data.kind() == Kind::Dataset => plain(file, objtype, "data", data).map(Some),
                _ => Ok(None),
            },
        }
    }

    /// Its description.
    pub fn describe(&self) -> Description {
        Description {
            kind: self.kind.clone(),
            arrays: self.arrays.iter().map(|(about, _)| about.clone()).collect(),
            attributes: self.attributes.clone(),
        }
    }

    /// Opens one of its arrays: the named one, otherwise the only one that is no coordinate.
    pub fn array(self, file: &RunFile, variable: &str, name: Option<&str>) -> Result<Found, DisplayError> {
        let known = || self.arrays.iter().map(|(about, _)| about.name.clone()).collect();
        let unknown = |known| DisplayError::Array {
            variable: variable.to_owned(),
            given: name.map(str::to_owned),
            known,
        };
        let mut wanted = self.arrays.iter().enumerate().filter(|(_, (about, _))| match name {
            Some(name) => about.name == name,
            None => !about.coordinate,
        });
        let at = match (wanted.next(), wanted.next()) {
            (Some((at, _)), None) => at,
            _ => return Err(unknown(known())),
        };
        let Object { mut arrays, group: _group, .. } = self;
        let (about, node) = arrays.swap_remove(at);
        let missing = missing(file, &about, &node)?;
        let (node, other) = file.content(&about.name, node)?;
        Ok(Found { about, missing, content: Content { node, _file: other } })
    }
}

fn plain(file: &RunFile, objtype: Option<&str>, name: &str, node: Node) -> Result<Object, DisplayError> {
    let about = describe_array(file, name, &node)?;
    let kind = match objtype {
        None if about.shape.is_empty() => ObjectKind::Scalar,
        None => ObjectKind::Array,
        Some("image") => ObjectKind::Image,
        Some("PlotlyFigure") => ObjectKind::Figure,
        Some("series") => ObjectKind::Series,
        Some("dataframe") => ObjectKind::DataFrame,
        Some("timestamp") => ObjectKind::Timestamp,
        Some(_) => ObjectKind::Other,
    };
    Ok(Object { kind, attributes: Map::new(), group: None, arrays: vec![(about, node)] })
}

/// Attributes that users set, or that say how numbers are encoded.
fn attributes(file: &RunFile, node: &Node) -> Result<Map<String, Json>, DisplayError> {
    let mut all = Map::new();
    for name in node.attribute_names().reading(file.path())? {
        let own = [OBJTYPE, RETURNED, "coordinates", "_nc3_strict", "_NCProperties"];
        if OWN_ATTRIBUTES.contains(&name.as_str()) || own.contains(&name.as_str()) {
            continue;
        }
        if let Some(held) = node.attribute(&name).reading(file.path())? {
            all.insert(name, to_json(&held));
        }
    }
    Ok(all)
}

/// Elements that stand for no number: those that the attributes name (CF conventions), and the time that is none.
fn missing(file: &RunFile, about: &ArrayDescription, node: &Node) -> Result<Vec<Number>, DisplayError> {
    let is_plain = |dtype: &Dtype| matches!(dtype, Dtype::Int { .. } | Dtype::Float { .. });
    let mut missing = Vec::new();
    if !about.dtype.as_ref().is_some_and(is_plain) {
        return Ok(missing);
    }
    for name in ["_FillValue", "missing_value"] {
        if let Some(Held::Numbers(dtype, _, bytes)) = node.attribute(name).reading(file.path())?
            && is_plain(&dtype)
        {
            let elements = bytes.chunks_exact(dtype.item_size().unwrap_or(1).max(1));
            missing.extend(elements.filter_map(|element| Number::of(&dtype, element)));
        }
    }
    let is_signed = matches!(about.dtype, Some(Dtype::Int { bytes: 8, signed: true, .. }));
    if is_signed && is_time(&about.attributes) {
        // numpy's NaT. Not every writer has an attribute for it.
        missing.push(Number::Whole(i64::MIN.into()));
    }
    Ok(missing)
}

/// Whether integers with these attributes are times or durations, by the CF conventions.
fn is_time(attributes: &Map<String, Json>) -> bool {
    const UNITS: [&str; 7] =
        ["days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"];
    let text = |name: &str| attributes.get(name).and_then(Json::as_str).unwrap_or_default();
    let units = text("units");
    units.contains(" since ") || UNITS.contains(&units) || text("dtype").starts_with("timedelta64")
}

fn describe_array(file: &RunFile, name: &str, node: &Node) -> Result<ArrayDescription, DisplayError> {
    let of = || {
        let kind = node.dataset_type()?;
        // Text of variable length is only read as a whole type; within records it is not.
        let dtype = kind.exact_dtype()?.filter(|dtype| *dtype == Dtype::Text || !kind.is_variable_length());
        Ok::<_, crate::h5::H5Error>((dtype, node.shape()?, node.is_null()?))
    };
    let (dtype, shape, empty) = of().reading(file.path())?;
    let attributes = attributes(file, node)?;
    // xarray stores truth values as bytes.
    let is_bool = attributes.get("dtype").and_then(Json::as_str) == Some("bool");
    let dtype = match dtype {
        Some(Dtype::Int { bytes: 1, .. }) if is_bool => Some(Dtype::Bool),
        other => other,
    };
    Ok(ArrayDescription {
        name: name.to_owned(),
        dtype,
        shape,
        empty,
        dims: Vec::new(),
        coordinate: false,
        attributes,
    })
}

fn netcdf(file: &RunFile, kind: ObjectKind, group: Node) -> Result<Object, DisplayError> {
    const ONLY_A_DIMENSION: &str = "This is a netCDF dimension but not a netCDF variable";
    let mut members: Vec<(String, Node)> = Vec::new();
    for name in group.names().reading(file.path())? {
        if let Some(node) = file.member(&group, &name)?
            && node.kind() == Kind::Dataset
        {
            members.push((name, node));
        }
    }
    let mut scales: Vec<(Token, String, bool)> = Vec::new();
    let mut coordinates: Vec<String> = Vec::new();
    let listed = |node: &Node| node.text_attribute("coordinates").reading(file.path());
    coordinates.extend(listed(&group)?.iter().flat_map(|names| names.split_whitespace()).map(str::to_owned));
    for (name, node) in &members {
        if node.is_scale().reading(file.path())? {
            let empty = node.text_attribute("NAME").reading(file.path())?;
            let has_content = !empty.is_some_and(|name| name.starts_with(ONLY_A_DIMENSION));
            let token = node.token().reading(file.path())?;
            scales.push((token, name.clone(), has_content));
        }
        coordinates
            .extend(listed(node)?.iter().flat_map(|names| names.split_whitespace()).map(str::to_owned));
    }
    let mut arrays = Vec::new();
    for (name, node) in members {
        let own = scales.iter().find(|(_, scale, _)| *scale == name);
        if own.is_some_and(|(_, _, has_content)| !has_content) {
            continue;
        }
        let mut about = describe_array(file, &name, &node)?;
        about.coordinate = own.is_some() || coordinates.contains(&name);
        about.dims = if own.is_some() {
            vec![name.clone()]
        } else {
            let mut dims = Vec::new();
            for axis in 0..about.shape.len() {
                let tokens = node.scales_of(axis).reading(file.path())?;
                let scale = scales.iter().find(|(token, ..)| tokens.contains(token));
                dims.extend(scale.map(|(_, name, _)| name.clone()));
            }
            dims
        };
        about.name = name.strip_prefix(NOT_A_COORDINATE).unwrap_or(&name).to_owned();
        arrays.push((about, node));
    }
    arrays.sort_by_key(|(about, _)| about.coordinate);
    let attributes = if kind == ObjectKind::Dataset { attributes(file, &group)? } else { Map::new() };
    Ok(Object { kind, attributes, group: Some(group), arrays })
}
