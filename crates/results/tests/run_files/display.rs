//! Values for display.

use std::{fs, os::unix::fs::symlink, path::Path};

use amore_results::{
    Answer, ArrayData, Attr, Colors, Dim, DisplayError, Dtype, Form, LARGE, LargeArrayWriter, Layout, Limits,
    NetcdfVariable, Object, ObjectKind, Part, ResultsError, Selection, Value, ValueOf,
};
use serde_json::{Value as Json, json};

use crate::{F64, PROPOSAL, RUN, bytes, merge, provenance, run_file, scalar, writer};

const ALL: Limits = Limits { bytes: 1 << 30 };

fn value<'a>(directory: &'a Path, variable: &'a str) -> ValueOf<'a> {
    ValueOf { extracted_data: directory, proposal: PROPOSAL, run: RUN, variable, part: Part::Value }
}

fn read(directory: &Path, variable: &str, slice: &str, form: &Form) -> Result<Answer, DisplayError> {
    let selection: Selection = slice.parse().unwrap();
    Ok(value(directory, variable).read(None, &selection, form, ALL)?.unwrap().0)
}

fn json_of(directory: &Path, variable: &str, slice: &str, points: u64) -> Json {
    match read(directory, variable, slice, &Form::Json { points }).unwrap() {
        Answer::Json(json) => json,
        other => panic!("{other:?}"),
    }
}

fn npy_of(directory: &Path, variable: &str, slice: &str) -> (String, Vec<u8>) {
    let Answer::Pieces { mut pieces, .. } = read(directory, variable, slice, &Form::Npy).unwrap() else {
        panic!()
    };
    let (mut all, total) = (Vec::new(), pieces.total());
    while let Some(piece) = pieces.next_piece().unwrap() {
        all.extend(piece);
    }
    assert_eq!(all.len() as u64, total);
    let header = 10 + usize::from(u16::from_le_bytes([all[8], all[9]]));
    (String::from_utf8(all[10..header].to_vec()).unwrap(), all[header..].to_vec())
}

fn stored(directory: &Path, values: &[(&str, Value<'_>)]) {
    let mut writer = writer(directory);
    for (name, value) in values {
        writer.value(name, value, &provenance(1)).unwrap();
    }
    merge(directory, &[writer.finish().unwrap()]);
}

fn array<'a>(shape: &[u64], bytes: &'a [u8]) -> Value<'a> {
    Value { data: Some(Object::plain(ArrayData::bytes(F64, shape.to_vec(), bytes))), ..Value::default() }
}

#[test]
fn numbers_texts_and_arrays_are_described_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (one, many) = (2.5f64.to_le_bytes(), bytes(&(0..24).map(f64::from).collect::<Vec<_>>()));
    let text = Value { data: Some(Object::plain(ArrayData::text("sample-2"))), ..Value::default() };
    stored(directory, &[("one", scalar(&one)), ("many", array(&[2, 3, 4], &many)), ("text", text)]);

    let described = value(directory, "many").describe().unwrap().unwrap();
    assert_eq!(
        json!(described),
        json!({"kind": "array", "arrays": [{"name": "data", "dtype": "<f8", "shape": [2, 3, 4]}]})
    );
    assert_eq!(value(directory, "none").describe().unwrap(), None);
    assert!(matches!(value(directory, "../one").describe(), Err(DisplayError::Name(_))));

    assert_eq!(json_of(directory, "one", "", 1)["data"], 2.5);
    assert_eq!(json_of(directory, "text", "", 1)["data"], "sample-2");
    let part = json_of(directory, "many", "1,::2,1:3", 100);
    assert_eq!((&part["shape"], &part["data"]), (&json!([2, 2]), &json!([[13.0, 14.0], [21.0, 22.0]])));
    let (header, content) = npy_of(directory, "many", "1,::2,1:3");
    assert!(header.contains("'shape': (2, 2)"), "{header}");
    assert_eq!(content, bytes(&[13.0, 14.0, 21.0, 22.0]));
    assert_eq!(npy_of(directory, "many", "").1, many);
    let fewer = json_of(directory, "many", "0", 2);
    assert_eq!(fewer["extremes"]["edges"], json!([[0, 3], [0, 4]]));
    assert_eq!((&fewer["extremes"]["min"], &fewer["extremes"]["max"]), (&json!([[0.0]]), &json!([[11.0]])));

    let version = |at: &Path| {
        let all = Selection::default();
        value(at, "one").read(None, &all, &Form::Npy, ALL).unwrap().unwrap().1
    };
    let before = version(directory);
    assert_eq!(before, version(directory));
    assert_eq!(value(directory, "one").provenance().unwrap().unwrap().task, "t");
    assert_eq!(value(directory, "none").provenance().unwrap(), None);

    let small = Limits { bytes: 100 };
    let refused = value(directory, "many").read(None, &Selection::default(), &Form::Npy, small).unwrap_err();
    assert!(matches!(refused, DisplayError::TooLarge { bytes: 192, most: 100 }), "{refused}");
    assert!(matches!(read(directory, "text", "", &Form::Npy), Err(DisplayError::Form { .. })));
    assert!(matches!(read(directory, "one", "0", &Form::Npy), Err(DisplayError::Selection(_))));
    stored(directory, &[("one", scalar(&many[8..16]))]);
    assert_ne!(before, version(directory));
}

#[test]
fn arrays_of_xarray_have_dimensions_units_and_coordinates() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (numbers, ids, flags) = (bytes(&[1.0, f64::NAN, 3.0, 4.0, 5.0, 6.0]), bytes(&[10.0, 20.0]), [1u8, 0]);
    let variable = |name: &str, dims: &[&str], array, attrs| NetcdfVariable {
        name: name.to_owned(),
        dims: dims.iter().map(|dim| (*dim).to_owned()).collect(),
        compress: false,
        attrs,
        array,
    };
    let attr = |name: &str, text: &str| (name.to_owned(), Attr::Text(text.to_owned()));
    let u1 = Dtype::Int { bytes: 1, signed: true, big_endian: false };
    let layout = Layout::Netcdf {
        dims: vec![Dim { name: "train".to_owned(), size: 2 }, Dim { name: "pulse".to_owned(), size: 3 }],
        variables: vec![
            variable("train", &["train"], ArrayData::bytes(F64, vec![2], &ids), vec![]),
            variable("good", &["train"], ArrayData::bytes(u1, vec![2], &flags), vec![attr("dtype", "bool")]),
            variable(
                "flux",
                &["train", "pulse"],
                ArrayData::bytes(F64, vec![2, 3], &numbers),
                vec![attr("units", "uJ"), attr("coordinates", "good")],
            ),
        ],
        attrs: vec![],
    };
    let data = Object { objtype: Some("dataarray".to_owned()), layout, returned: None };
    stored(directory, &[("xgm", Value { data: Some(data), ..Value::default() })]);

    let described = value(directory, "xgm").describe().unwrap().unwrap();
    assert_eq!(described.kind, ObjectKind::DataArray);
    let flux = &described.arrays[0];
    assert_eq!(
        (flux.name.as_str(), flux.dims.as_slice()),
        ("flux", ["train", "pulse"].map(String::from).as_slice())
    );
    assert_eq!(flux.attributes["units"], "uJ");
    let names: Vec<(&str, bool)> =
        described.arrays.iter().map(|array| (array.name.as_str(), array.coordinate)).collect();
    assert_eq!(names, [("flux", false), ("good", true), ("train", true)]);
    assert_eq!(described.arrays[1].dtype, Some(Dtype::Bool));

    let json = json_of(directory, "xgm", ":,0", 10);
    assert_eq!((&json["dims"], &json["data"]), (&json!(["train"]), &json!([1.0, 4.0])));
    assert_eq!(json_of(directory, "xgm", "0", 10)["data"], json!([1.0, "NaN", 3.0]));
    let all = Selection::default();
    let good =
        value(directory, "xgm").read(Some("good"), &all, &Form::Json { points: 9 }, ALL).unwrap().unwrap();
    let (Answer::Json(good), _) = good else { panic!("{good:?}") };
    assert_eq!((&good["dtype"], &good["data"]), (&json!("|b1"), &json!([true, false])));
    for wrong in ["../one", "pulse", "/", ""] {
        let refused = value(directory, "xgm").read(Some(wrong), &all, &Form::Npy, ALL);
        assert!(matches!(refused, Err(DisplayError::Array { .. })), "{wrong}");
    }

    let form = Form::Png { range: None, colors: Some(Colors::Gray), size: 100 };
    let Answer::Png { file, range } = read(directory, "xgm", "", &form).unwrap() else { panic!() };
    assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(range, Some((1.0, 6.0)));
    assert!(matches!(read(directory, "xgm", "0", &form), Err(DisplayError::Form { .. })));
}

#[test]
fn a_missing_array_file_is_an_error_and_no_fill_values() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let count = LARGE / 8;
    let content = bytes(&(0..count).map(|at| at as f64).collect::<Vec<_>>());
    let mut large = LargeArrayWriter::create(directory, PROPOSAL, RUN, "big", F64, &[count], false).unwrap();
    large.write(&content).unwrap();
    let large = large.finish().unwrap();
    let array_file = large.path().to_owned();
    let data = ArrayData { dtype: F64, shape: vec![count], content: amore_results::Content::Large(large) };
    stored(directory, &[("big", Value { data: Some(Object::plain(data)), ..Value::default() })]);

    let expected: Vec<f64> = (0..count).step_by(1_000_000).map(|at| at as f64).collect();
    assert_eq!(npy_of(directory, "big", "::1000000").1, bytes(&expected));
    assert_eq!(npy_of(directory, "big", "").1, content);

    // What a link leads to is not read, whoever made the link.
    let moved = directory.join("elsewhere.h5");
    fs::rename(&array_file, &moved).unwrap();
    let missing = |result: Result<Answer, DisplayError>| {
        matches!(result, Err(DisplayError::File(ResultsError::MissingSource { .. })))
    };
    assert!(missing(read(directory, "big", "0:1", &Form::Npy)));
    symlink(&moved, &array_file).unwrap();
    assert!(missing(read(directory, "big", "0:1", &Form::Npy)));
}

#[test]
fn nothing_outside_of_the_run_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let other = tempfile::tempdir().unwrap();
    let secret = bytes(&[42.0, 43.0]);
    stored(other.path(), &[("secret", array(&[2], &secret))]);
    let victim = run_file(other.path());

    // A link of HDF5 to the other file, a link to another object, and a dataset stored in any file.
    {
        let file = hdf5_metno::File::create(run_file(directory)).unwrap();
        file.link_external(victim.to_str().unwrap(), "/secret", "whole").unwrap();
        let group = file.create_group("inside").unwrap();
        group.link_external(victim.to_str().unwrap(), "/secret/data", "data").unwrap();
        let group = file.create_group("own").unwrap();
        group.new_dataset_builder().with_data(&[1.0f64]).create("data").unwrap();
        file.link_soft("/own", "soft").unwrap();
    }
    assert_eq!(json_of(directory, "own", "", 9)["data"], json!([1.0]));
    for name in ["whole", "inside", "soft"] {
        let refused = value(directory, name).describe();
        assert!(matches!(refused, Err(DisplayError::Outside { .. })), "{name}: {refused:?}");
    }
    fs::remove_file(run_file(directory)).unwrap();
    symlink(&victim, run_file(directory)).unwrap();
    assert!(matches!(
        value(directory, "secret").describe(),
        Err(DisplayError::File(ResultsError::Io { .. }))
    ));
    assert!(value(other.path(), "secret").describe().unwrap().is_some());
}

#[test]
fn pictures_keep_their_colours() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let pixels: Vec<u8> = (0..2 * 3 * 4).collect();
    let u1 = Dtype::Int { bytes: 1, signed: false, big_endian: false };
    let layout = Layout::Plain(ArrayData::bytes(u1, vec![2, 3, 4], &pixels));
    let image = Object { objtype: Some("image".to_owned()), layout, returned: None };
    stored(directory, &[("figure", Value { data: Some(image), ..Value::default() })]);
    assert_eq!(value(directory, "figure").describe().unwrap().unwrap().kind, ObjectKind::Image);
    let png = |size: u64, range, colors| read(directory, "figure", "", &Form::Png { range, colors, size });
    let decoded = |answer: Answer| {
        let Answer::Png { file, range: None } = answer else { panic!("{answer:?}") };
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut decoded = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut decoded).unwrap();
        ((info.width, info.height), decoded)
    };
    assert_eq!(decoded(png(3, None, None).unwrap()), ((3, 2), pixels));
    // One row, of two rows and three columns.
    let ((width, height), smaller) = decoded(png(2, None, None).unwrap());
    assert_eq!((width, height, smaller.len()), (2, 1, 8));
    assert_eq!(decoded(png(1, None, None).unwrap()).0, (1, 1));
    for (range, colors) in [(Some((0.0, 1.0)), None), (None, Some(Colors::Gray))] {
        let refused = png(9, range, colors).unwrap_err();
        assert!(matches!(refused, DisplayError::Drawing { .. }), "{refused}");
        assert!(refused.hint().unwrap().contains("slice=:,:,0"));
    }
}

#[test]
fn pictures_of_numbers_keep_their_ratio() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let numbers = bytes(&(0..30 * 40).map(f64::from).collect::<Vec<_>>());
    stored(directory, &[("map", array(&[30, 40], &numbers))]);
    for (size, expected) in [(10, (10, 8)), (100, (40, 30)), (1, (1, 1))] {
        let form = Form::Png { range: None, colors: None, size };
        let Answer::Png { file, .. } = read(directory, "map", "", &form).unwrap() else { panic!() };
        let reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), expected);
    }
}

#[test]
fn times_are_exact_and_what_is_no_time_is_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let times = [1_700_000_000_000_000_001i64, i64::MIN, 1_700_000_000_000_000_003, 5];
    let content: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
    let i64_ = Dtype::Int { bytes: 8, signed: true, big_endian: false };
    let variable = |name: &str, attrs: Vec<(String, Attr)>| NetcdfVariable {
        name: name.to_owned(),
        dims: vec!["x".to_owned()],
        compress: false,
        attrs,
        array: ArrayData::bytes(i64_.clone(), vec![4], &content),
    };
    let five = 5i64.to_le_bytes().to_vec();
    let layout = Layout::Netcdf {
        dims: vec![Dim { name: "x".to_owned(), size: 4 }],
        variables: vec![
            variable(
                "time",
                vec![("units".to_owned(), Attr::Text("nanoseconds since 1970-01-01".to_owned()))],
            ),
            variable(
                "count",
                vec![(
                    "_FillValue".to_owned(),
                    Attr::Numbers { dtype: i64_.clone(), shape: vec![], bytes: five },
                )],
            ),
        ],
        attrs: vec![],
    };
    let data = Object { objtype: Some("dataset".to_owned()), layout, returned: None };
    stored(directory, &[("log", Value { data: Some(data), ..Value::default() })]);
    let extremes = |array: &str| {
        let form = Form::Json { points: 2 };
        let read = value(directory, "log").read(Some(array), &Selection::default(), &form, ALL);
        let (Answer::Json(json), _) = read.unwrap().unwrap() else { panic!() };
        json["extremes"].clone()
    };
    let time = extremes("time");
    assert_eq!((&time["min"], &time["max"]), (&json!([times[0], 5]), &json!([times[0], times[2]])));
    assert_eq!(time["not_numbers"], 1);
    let count = extremes("count");
    assert_eq!((&count["min"], &count["max"]), (&json!([i64::MIN, times[2]]), &json!([times[0], times[2]])));
    assert_eq!(count["not_numbers"], 1);
}

#[test]
fn what_other_programs_store_is_shown_right_or_not_at_all() {
    use hdf5_metno_sys::{h5d, h5p, h5s, h5t};

    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    {
        let file = hdf5_metno::File::create(run_file(directory)).unwrap();
        let group = |name: &str| file.create_group(name).unwrap();
        let bytes = hdf5_metno::types::FixedAscii::<4>::from_ascii(b"5 m\0").unwrap();
        group("text").new_dataset_builder().with_data(&[bytes]).create("data").unwrap();
        // Created by the library itself: these have no type in Rust.
        let create = |name: &str, kind: i64, space: i64| unsafe {
            let group = group(name);
            let data = h5d::H5Dcreate2(
                group.id(),
                c"data".as_ptr(),
                kind,
                space,
                h5p::H5P_DEFAULT,
                h5p::H5P_DEFAULT,
                h5p::H5P_DEFAULT,
            );
            assert!(data > 0);
            data
        };
        // The library is not thread-safe, and other tests use it now.
        hdf5_metno::sync::sync(|| unsafe {
            let null = h5s::H5Screate(h5s::H5S_class_t::H5S_NULL);
            h5d::H5Dclose(create("empty", *h5t::H5T_IEEE_F64LE, null));
            let one = h5s::H5Screate(h5s::H5S_class_t::H5S_SCALAR);
            let latin = h5t::H5Tcopy(*h5t::H5T_C_S1);
            h5t::H5Tset_size(latin, 3);
            let data = create("latin", latin, one);
            let text = [b'5', 0xb5, b'm'];
            h5d::H5Dwrite(data, latin, h5s::H5S_ALL, h5s::H5S_ALL, h5p::H5P_DEFAULT, text.as_ptr().cast());
            h5d::H5Dclose(data);
            // bfloat16 has the size of numpy's half precision.
            let brain = h5t::H5Tcopy(*h5t::H5T_IEEE_F32LE);
            h5t::H5Tset_fields(brain, 15, 7, 8, 0, 7);
            h5t::H5Tset_size(brain, 2);
            h5d::H5Dclose(create("brain", brain, one));
            let colors = h5t::H5Tenum_create(*h5t::H5T_STD_I8LE);
            for (name, value) in [(c"RED", 1i8), (c"GREEN", 2), (c"BLUE", 4)] {
                h5t::H5Tenum_insert(colors, name.as_ptr(), (&raw const value).cast());
            }
            let data = create("enumeration", colors, one);
            let blue = 4i8;
            h5d::H5Dwrite(
                data,
                colors,
                h5s::H5S_ALL,
                h5s::H5S_ALL,
                h5p::H5P_DEFAULT,
                (&raw const blue).cast(),
            );
            h5d::H5Dclose(data);
        });
    }
    assert_eq!(json_of(directory, "text", "", 9)["data"], json!(["5 m"]));
    let empty = json_of(directory, "empty", "", 9);
    assert_eq!((&empty["data"], &empty["shape"], &empty["dtype"]), (&Json::Null, &Json::Null, &json!("<f8")));
    assert!(value(directory, "empty").describe().unwrap().unwrap().arrays[0].empty);
    let refused = |variable: &str, form: &Form| match read(directory, variable, "", form) {
        Err(error @ DisplayError::Form { .. }) => error.to_string(),
        other => panic!("{variable}: {other:?}"),
    };
    assert!(refused("empty", &Form::Npy).contains("ask for JSON"));
    let latin = refused("latin", &Form::Json { points: 9 });
    assert!(latin.contains(r#"b"5\xb5m" is not text in UTF-8; format=npy"#), "{latin}");
    assert_eq!(npy_of(directory, "latin", "").1, b"5\xb5m");
    assert!(refused("brain", &Form::Json { points: 9 }).contains("h5py"));
    assert!(refused("brain", &Form::Npy).contains("h5py"));
    let blue = json_of(directory, "enumeration", "", 9);
    assert_eq!((&blue["dtype"], &blue["data"]), (&json!("|i1"), &json!(4)));
}
