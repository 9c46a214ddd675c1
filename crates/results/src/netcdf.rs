//! netCDF-4 groups: datasets whose dimensions are dimension scales, numbered over the whole file.

use std::collections::BTreeMap;

use crate::{
    compress::{CHUNK_BYTES, ChunkPlan},
    dtype::Dtype,
    h5::{DatasetOptions, H5Error, H5Result, Kind, Node, Storage, Token, Type, VirtualSource},
    large::DATASET,
    names,
    value::{ArrayData, Attr, Content, Dim, NetcdfVariable},
};

/// Attributes that HDF5 and netCDF-4 manage themselves. They are never copied, but created again.
pub(crate) const OWN_ATTRIBUTES: [&str; 7] = [
    "CLASS",
    "NAME",
    "REFERENCE_LIST",
    "DIMENSION_LIST",
    "DIMENSION_LABELS",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
];

/// Maximum size of an attribute in bytes. (The length of a message in an object header has 16 bits, and includes name and
/// type.)
const MOST_IN_ATTRIBUTE: usize = 64_000;

/// Prefix of a variable that has a dimension's name without being its coordinate.
pub(crate) const NOT_A_COORDINATE: &str = "_nc4_non_coord_";

/// The next free `_Netcdf4Dimid` of a file.
#[derive(Debug, Default)]
pub(crate) struct DimIds(i32);

impl DimIds {
    fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0 - 1
    }
}

/// Checks names, dimensions and contents before anything is written. The error is the reason.
pub(crate) fn check(
    dims: &[Dim],
    variables: &[NetcdfVariable<'_>],
    attrs: &[(String, Attr)],
) -> Result<(), String> {
    let mut sizes = BTreeMap::new();
    for dim in dims {
        names::check_netcdf(&dim.name, "a dimension's name").map_err(|error| error.to_string())?;
        if sizes.insert(dim.name.as_str(), dim.size).is_some() {
            return Err(format!("dimension {:?} is given twice", dim.name));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for variable in variables {
        let name = &variable.name;
        names::check_netcdf(name, "the name of an array").map_err(|error| error.to_string())?;
        if !seen.insert(name) {
            return Err(format!("array {name:?} is given twice"));
        }
        if variable.dims.len() != variable.array.shape.len() {
            return Err(format!(
                "array {name:?} has {} dimensions, its shape {:?}",
                variable.dims.len(),
                variable.array.shape
            ));
        }
        for (dim, length) in variable.dims.iter().zip(&variable.array.shape) {
            match sizes.get(dim.as_str()) {
                None => return Err(format!("array {name:?} has an unknown dimension {dim:?}")),
                Some(size) if size != length => {
                    return Err(format!(
                        "array {name:?} has length {length} along {dim:?}, which has {size}"
                    ));
                }
                Some(_) => {}
            }
        }
        variable.array.check().map_err(|reason| format!("array {name:?}: {reason}"))?;
        check_attrs(&variable.attrs).map_err(|reason| format!("array {name:?}: {reason}"))?;
    }
    check_attrs(attrs)
}

pub(crate) fn check_attrs(attrs: &[(String, Attr)]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for (name, attr) in attrs {
        if name.is_empty() || name.contains('\0') {
            return Err(format!("an attribute cannot be named {name:?}"));
        }
        if OWN_ATTRIBUTES.contains(&name.as_str()) {
            return Err(format!("attribute {name:?}: netCDF reserves this name; rename the attribute"));
        }
        if !seen.insert(name) {
            return Err(format!("attribute {name:?} is given twice"));
        }
        // For text, the attribute itself contains only a pointer.
        let bytes = match attr {
            Attr::Text(_) => 16,
            Attr::Texts(texts) => 16 * texts.len(),
            Attr::Numbers { bytes, .. } => bytes.len(),
        };
        if bytes > MOST_IN_ATTRIBUTE {
            return Err(format!(
                "attribute {name:?} takes {bytes} bytes, but HDF5 has room for {MOST_IN_ATTRIBUTE}; make it a coordinate"
            ));
        }
        let texts: &[String] = match attr {
            Attr::Text(text) => std::slice::from_ref(text),
            Attr::Texts(texts) => texts,
            Attr::Numbers { dtype: Dtype::Text, .. } => {
                return Err(format!("attribute {name:?}: text is not a number"));
            }
            Attr::Numbers { .. } => &[],
        };
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(format!("attribute {name:?}: its text contains a NUL character"));
        }
    }
    Ok(())
}

pub(crate) fn write_attr(node: &Node, name: &str, attr: &Attr) -> H5Result<()> {
    match attr {
        Attr::Text(text) => node.set_text(name, text),
        Attr::Texts(texts) => node.set_texts(name, &[texts.len() as u64], texts),
        Attr::Numbers { dtype, shape, bytes } => node.set_numbers(name, dtype, shape, bytes),
    }
}

/// Writes a dataset whose content is in another file. If that file cannot be read, HDF5 returns the fill value without an
/// error, so the fill value must not look like a result. (netCDF's `_FillValue` may be any number, and is an attribute.)
pub(crate) fn write_virtual(
    parent: &Node,
    name: &str,
    dtype: &Dtype,
    shape: &[u64],
    source: VirtualSource,
) -> H5Result<Node> {
    let (kind, fill) = (Type::of(dtype)?, dtype.missing());
    let storage = Storage::Virtual(source);
    let options = DatasetOptions { kind: &kind, shape, storage, fill: fill.as_deref() };
    parent.create_dataset(name, &options)
}

/// Writes an array as a dataset of `parent`, wherever its content is stored.
pub(crate) fn write_array(
    parent: &Node,
    name: &str,
    array: &ArrayData<'_>,
    compress: bool,
    fill: Option<&[u8]>,
) -> H5Result<Node> {
    let kind = Type::of(&array.dtype)?;
    let create = |storage| {
        parent.create_dataset(name, &DatasetOptions { kind: &kind, shape: &array.shape, storage, fill })
    };
    match &array.content {
        Content::Large(large) => {
            let source = VirtualSource { file: large.relative.clone(), dataset: DATASET.to_owned() };
            write_virtual(parent, name, &array.dtype, &array.shape, source)
        }
        Content::Text(texts) => {
            let dataset = create(Storage::Contiguous)?;
            dataset.write_texts(texts)?;
            Ok(dataset)
        }
        Content::Bytes(bytes) => {
            let plan = match (compress, array.dtype.item_size()) {
                (true, Some(size)) => ChunkPlan::new(&array.shape, size, CHUNK_BYTES),
                _ => None,
            };
            let Some(plan) = plan else {
                let dataset = create(Storage::Contiguous)?;
                dataset.write_bytes(bytes)?;
                return Ok(dataset);
            };
            let dataset = create(Storage::Chunked(plan.chunk_shape().to_vec()))?;
            let mut rest = *bytes;
            for index in 0..plan.count() {
                let (chunk, after) = rest.split_at(plan.stream_bytes(index).min(rest.len()));
                let (filters, packed) = plan.pack(chunk);
                dataset.write_chunk(&plan.offset(index), filters, &packed)?;
                rest = after;
            }
            Ok(dataset)
        }
    }
}

/// Writes a netCDF group's content to `group`. It must have passed [`check`].
pub(crate) fn write_group(
    group: &Node,
    dims: &[Dim],
    variables: &[NetcdfVariable<'_>],
    attrs: &[(String, Attr)],
    ids: &mut DimIds,
) -> H5Result<()> {
    for (name, attr) in attrs {
        write_attr(group, name, attr)?;
    }
    let mut scales: BTreeMap<&str, (Node, i32)> = BTreeMap::new();
    let mut others = Vec::new();
    for variable in variables {
        let is_coordinate = variable.dims == [variable.name.clone()];
        let hides_dimension = !is_coordinate && dims.iter().any(|dim| dim.name == variable.name);
        let link = if hides_dimension {
            format!("{NOT_A_COORDINATE}{}", variable.name)
        } else {
            variable.name.clone()
        };
        let fill = variable.attrs.iter().find_map(|(name, attr)| match attr {
            Attr::Numbers { dtype, bytes, .. } if name == "_FillValue" && *dtype == variable.array.dtype => {
                // A scalar or a list with one element.
                (Some(bytes.len()) == dtype.item_size()).then_some(bytes.as_slice())
            }
            _ => None,
        });
        let dataset = write_array(group, &link, &variable.array, variable.compress, fill)?;
        for (name, attr) in &variable.attrs {
            write_attr(&dataset, name, attr)?;
        }
        if is_coordinate {
            let id = ids.next();
            dataset.make_scale(&variable.name)?;
            number(&dataset, &[id])?;
            scales.insert(&variable.name, (dataset, id));
        } else {
            others.push((dataset, &variable.dims));
        }
    }
    for dim in dims {
        if !scales.contains_key(dim.name.as_str()) {
            let id = ids.next();
            let scale = empty_scale(group, &dim.name, dim.size)?;
            scale.set_i32s("_Netcdf4Dimid", &[], &[id])?;
            scales.insert(&dim.name, (scale, id));
        }
    }
    for (dataset, dims) in others {
        let mut coordinates = Vec::with_capacity(dims.len());
        for (dimension, name) in dims.iter().enumerate() {
            let Some((scale, id)) = scales.get(name.as_str()) else {
                return Err(H5Error::new("attaching a scale", format!("there is no dimension {name:?}")));
            };
            dataset.attach_scale(scale, dimension)?;
            coordinates.push(*id);
        }
        number(&dataset, &coordinates)?;
    }
    Ok(())
}

/// A dimension without a variable: a scale with a length and no content.
fn empty_scale(group: &Node, name: &str, size: u64) -> H5Result<Node> {
    let kind = Type::of(&Dtype::Float { bytes: 4, big_endian: true })?;
    let scale = group.create_dataset(
        name,
        &DatasetOptions { kind: &kind, shape: &[size], storage: Storage::Empty, fill: None },
    )?;
    scale.make_scale(&format!("This is a netCDF dimension but not a netCDF variable.{size:10}"))?;
    Ok(scale)
}

/// Records which dimensions a variable has.
fn number(dataset: &Node, coordinates: &[i32]) -> H5Result<()> {
    let Some(first) = coordinates.first() else { return Ok(()) };
    dataset.set_i32s("_Netcdf4Coordinates", &[coordinates.len() as u64], coordinates)?;
    dataset.set_i32s("_Netcdf4Dimid", &[], &[*first])
}

/// Copies a group, of netCDF or not, to `to`, with new dimension numbers. The library's own copy breaks dimension scales.
/// So datasets are copied by `copy_dataset` without their attributes, and scales are created and attached again.
pub(crate) fn copy_group(
    from: &Node,
    to: &Node,
    ids: &mut DimIds,
    mut copy_dataset: impl FnMut(&str) -> H5Result<()>,
) -> H5Result<()> {
    copy_attributes(from, to)?;
    let mut tokens: Vec<(Token, String)> = Vec::new();
    let mut scales: Vec<(i32, String)> = Vec::new();
    let mut attached: Vec<(String, Vec<Option<Token>>)> = Vec::new();
    for name in from.names()? {
        let source = from.open(&name)?;
        if source.kind() != Kind::Dataset {
            from.copy_to(&name, to, &name, true)?;
            continue;
        }
        copy_dataset(&name)?;
        copy_attributes(&source, &to.open(&name)?)?;
        if source.is_scale()? {
            let number = match source.attribute("_Netcdf4Dimid")? {
                Some(crate::h5::Held::Numbers(_, _, bytes)) => {
                    bytes.first_chunk().map_or(i32::MAX, |bytes| i32::from_le_bytes(*bytes))
                }
                _ => i32::MAX,
            };
            tokens.push((source.token()?, name.clone()));
            scales.push((number, name));
        } else {
            let mut dims = Vec::new();
            for dimension in 0..source.shape()?.len() {
                dims.push(source.scales_of(dimension)?.into_iter().next());
            }
            attached.push((name, dims));
        }
    }
    scales.sort();
    let mut made: BTreeMap<String, (Node, i32)> = BTreeMap::new();
    for (_, name) in scales {
        let source = from.open(&name)?;
        let scale = to.open(&name)?;
        let title = source.scale_name()?;
        scale.make_scale(&title)?;
        let id = ids.next();
        if source.has_attribute("_Netcdf4Coordinates")? && source.shape()?.len() == 1 {
            number(&scale, &[id])?;
        } else {
            scale.set_i32s("_Netcdf4Dimid", &[], &[id])?;
        }
        made.insert(name, (scale, id));
    }
    for (name, dims) in attached {
        let dataset = to.open(&name)?;
        let mut coordinates = Vec::new();
        for (dimension, scale) in dims.iter().enumerate() {
            let Some(token) = scale else { continue };
            let known = tokens.iter().find(|(known, _)| known == token);
            let Some((scale, id)) = known.and_then(|(_, scale)| made.get(scale)) else {
                return Err(H5Error::new(
                    "reading a scale",
                    format!("a scale of {name} lies outside of its group"),
                ));
            };
            dataset.attach_scale(scale, dimension)?;
            coordinates.push(*id);
        }
        if coordinates.len() == dims.len() && !coordinates.is_empty() {
            number(&dataset, &coordinates)?;
        }
    }
    Ok(())
}

fn copy_attributes(from: &Node, to: &Node) -> H5Result<()> {
    for name in from.attribute_names()? {
        if !OWN_ATTRIBUTES.contains(&name.as_str()) {
            from.copy_attribute(&name, to)?;
        }
    }
    Ok(())
}
