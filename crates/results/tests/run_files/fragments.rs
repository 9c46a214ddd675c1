use amore_results::{
    ArrayData, Attr, Content, Dim, Dtype, FragmentWriter, Layout, NetcdfVariable, Object, ReducedValue,
    ResultsError, StoredOutcome, SummaryAttrs, Value, parse_fragment, read_reduced,
};

use super::*;

#[test]
fn a_fragment_appears_complete_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    assert!(writer.is_empty());
    writer.start_time(1.5, false).unwrap();
    assert!(writer.is_empty(), "the start time is no result");
    writer.value("a", &scalar(&2.0f64.to_le_bytes()), &provenance(1)).unwrap();
    assert!(!writer.is_empty());
    assert_eq!(names(directory.path()), [""; 0]);
    let path = writer.finish().unwrap();
    assert_eq!(parse_fragment(path.file_name().unwrap().to_str().unwrap()), Some((PROPOSAL, RUN)));
    assert_eq!(names(directory.path()).len(), 1);
    assert_eq!(read(&path, "a/data"), [2.0]);
    assert_eq!(read(&path, ".reduced/start_time"), [1.5]);
}

#[test]
fn a_large_fragment_goes_to_disk_while_it_grows_and_leaves_nothing_if_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let content = vec![1u8; 20 << 20];
    let u8s: Dtype = "|u1".parse().unwrap();
    let value = Value {
        data: Some(Object::plain(ArrayData::bytes(u8s, vec![content.len() as u64], &content))),
        ..Value::default()
    };
    let mut dropped = writer(directory.path());
    let mut kept = writer(directory.path());
    for name in ["a", "b", "c"] {
        dropped.value(name, &value, &provenance(1)).unwrap();
        kept.value(name, &value, &provenance(1)).unwrap();
    }
    assert_eq!(names(directory.path()).iter().filter(|name| name.ends_with(".writing.h5")).count(), 2);
    drop(dropped);
    let path = kept.finish().unwrap();
    assert_eq!(names(directory.path()), [path.file_name().unwrap().to_str().unwrap()]);
    for name in ["a/data", "b/data", "c/data"] {
        let found: Vec<u8> =
            hdf5_metno::File::open(&path).unwrap().dataset(name).unwrap().read_raw().unwrap();
        assert!(found == content, "{name}");
    }
}

#[test]
fn rows_carry_values_attributes_and_provenance() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    writer.start_time(7.0, false).unwrap();
    let three = 3.0f64.to_le_bytes();
    let attrs = SummaryAttrs {
        max_diff: Some(0.5),
        summary_method: Some("mean".to_owned()),
        summary_type: None,
        bold: Some(true),
        background: Some([1, 2, 3]),
        units: Some("μJ".to_owned()),
    };
    writer.value("number", &Value { attrs, ..scalar(&three) }, &provenance(5)).unwrap();
    writer.error("bad", "ValueError", "no such thing", &provenance(5)).unwrap();
    writer.skipped("skip", "not now", &provenance(5)).unwrap();
    writer.nothing("none", &provenance(5)).unwrap();
    writer.forget("gone", &provenance(5)).unwrap();
    let quiet = Value { summary: None, ..scalar(&three) };
    writer.value("quiet", &quiet, &provenance(5)).unwrap();
    let summary = read_reduced(&writer.finish().unwrap()).unwrap();

    assert_eq!(summary.start_time, Some(7.0));
    assert_eq!(summary.without_row, ["gone", "none", "quiet"]);
    let [bad, number, skip] = summary.rows.as_slice() else { panic!("{:?}", summary.rows) };
    assert_eq!((number.name.as_str(), &number.value), ("number", &ReducedValue::Real(3.0)));
    assert_eq!(number.max_diff, Some(0.5));
    assert_eq!(number.summary_method.as_deref(), Some("mean"));
    let attributes: serde_json::Value = serde_json::from_str(number.attributes.as_ref().unwrap()).unwrap();
    assert_eq!(attributes, serde_json::json!({"bold": true, "background": [1, 2, 3], "units": "μJ"}));
    let stored = number.provenance.as_ref().unwrap();
    assert_eq!((stored.stamp.micros, stored.outcome), (5, StoredOutcome::Value));
    assert_eq!(bad.value, ReducedValue::Null);
    assert_eq!(bad.summary_method, None);
    let attributes: serde_json::Value = serde_json::from_str(bad.attributes.as_ref().unwrap()).unwrap();
    assert_eq!(attributes, serde_json::json!({"error": "no such thing", "error_cls": "ValueError"}));
    assert_eq!(bad.provenance.as_ref().unwrap().outcome, StoredOutcome::Error);
    assert_eq!(skip.provenance.as_ref().unwrap().outcome, StoredOutcome::Skipped);
}

#[test]
fn the_last_of_two_results_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    writer.error("a", "ValueError", "no", &provenance(1)).unwrap();
    writer.value("a", &scalar(&2.0f64.to_le_bytes()), &provenance(1)).unwrap();
    writer.value("b", &scalar(&2.0f64.to_le_bytes()), &provenance(1)).unwrap();
    writer.nothing("b", &provenance(1)).unwrap();
    let path = writer.finish().unwrap();
    assert!(has(&path, "a") && !has(&path, ".errors/a"));
    assert!(!has(&path, "b") && !has(&path, ".reduced/b") && has(&path, ".provenance/b"));
}

fn refused(value: &Value<'_>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    writer.value("good", &scalar(&1.0f64.to_le_bytes()), &provenance(1)).unwrap();
    let error = writer.value("bad", value, &provenance(1)).unwrap_err();
    let path = writer.finish().unwrap();
    assert!(has(&path, "good") && !has(&path, "bad") && !has(&path, ".provenance/bad"));
    let ResultsError::BadValue { variable, reason } = error else { panic!("{error}") };
    assert_eq!(variable, "bad");
    reason
}

fn group<'a>(dims: &[(&str, u64)], variables: Vec<NetcdfVariable<'a>>) -> Value<'a> {
    let dims = dims.iter().map(|(name, size)| Dim { name: (*name).to_owned(), size: *size }).collect();
    let layout = Layout::Netcdf { dims, variables, attrs: Vec::new() };
    Value {
        data: Some(Object { objtype: Some("dataset".to_owned()), layout, returned: None }),
        ..Value::default()
    }
}

fn variable<'a>(name: &str, dims: &[&str], bytes: &'a [u8]) -> NetcdfVariable<'a> {
    NetcdfVariable {
        name: name.to_owned(),
        dims: dims.iter().map(|dim| (*dim).to_owned()).collect(),
        compress: true,
        attrs: Vec::new(),
        array: ArrayData::bytes(F64, vec![bytes.len() as u64 / 8], bytes),
    }
}

#[test]
fn values_that_do_not_fit_together_are_refused_and_cost_only_themselves() {
    let data = bytes(&[1.0, 2.0]);
    let plain = |array| Value { data: Some(Object::plain(array)), ..Value::default() };
    assert!(
        refused(&plain(ArrayData::bytes(F64, vec![3], &data))).contains("16 bytes are given for shape [3]")
    );
    assert!(refused(&plain(ArrayData::bytes(F64, vec![u64::MAX, 9], &data))).contains("too large"));
    assert!(refused(&plain(ArrayData::bytes(Dtype::Text, vec![2], &data))).contains("text"));
    assert!(refused(&plain(ArrayData::text("a\0b"))).contains("NUL"));
    let texts = ArrayData { dtype: Dtype::Text, shape: vec![2], content: Content::Text(vec![String::new()]) };
    assert!(refused(&plain(texts)).contains("1 texts"));
    assert!(refused(&group(&[], vec![variable("v", &["x"], &data)])).contains("unknown dimension \"x\""));
    assert!(refused(&group(&[("x", 3)], vec![variable("v", &["x"], &data)])).contains("which has 3"));
    assert!(refused(&group(&[("x", 2)], vec![variable("a/b", &["x"], &data)])).contains("slash"));
    let twice = vec![variable("v", &["x"], &data), variable("v", &["x"], &data)];
    assert!(refused(&group(&[("x", 2)], twice)).contains("given twice"));
    let mut reserved = variable("v", &["x"], &data);
    reserved.attrs.push(("DIMENSION_LIST".to_owned(), Attr::Text(String::new())));
    assert!(refused(&group(&[("x", 2)], vec![reserved])).contains("rename the attribute"));
    let mut huge = variable("v", &["x"], &data);
    let numbers = Attr::Numbers { dtype: F64, shape: vec![10_000], bytes: vec![0; 80_000] };
    huge.attrs.push(("history".to_owned(), numbers));
    assert!(refused(&group(&[("x", 2)], vec![huge])).contains("make it a coordinate"));
}

#[test]
fn names_that_are_no_names_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    for name in ["", "../x", "a/b", "it's", "a\nb", "a\0b", "start_time", ".reduced"] {
        let error = writer.nothing(name, &provenance(1)).unwrap_err();
        assert!(matches!(error, ResultsError::Name(_)), "{name:?}: {error}");
    }
    assert!(writer.is_empty());
    for name in ["run", "proposal", "added_at", "start_time"] {
        for error in [
            writer.value(name, &Value::default(), &provenance(1)).unwrap_err(),
            writer.error(name, "ValueError", "bad", &provenance(1)).unwrap_err(),
            writer.skipped(name, "no beam", &provenance(1)).unwrap_err(),
        ] {
            assert!(error.to_string().contains("already has a column"), "{error}");
        }
    }
    // What was stored under such a name can be removed.
    writer.forget("run", &provenance(1)).unwrap();
    writer.nothing("added_at", &provenance(1)).unwrap();
    writer.nothing("group.sub_1", &provenance(1)).unwrap();
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let mut writer = FragmentWriter::create(&nowhere, PROPOSAL, RUN, "context.py").unwrap();
    writer.nothing("a", &provenance(1)).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(&error, ResultsError::Io { path, .. } if path.starts_with(&nowhere)), "{error}");
    assert!(matches!(read_reduced(&nowhere), Err(ResultsError::Io { .. })));
}

#[test]
fn types_are_told_by_numpys_names() {
    for name in [
        "<f2", "<f4", "<f8", ">f8", "<f16", ">f16", "<c32", "|i1", "<u2", ">i4", "<u8", "<c8", "<c16", "|b1",
        "|S5", "str",
    ] {
        assert_eq!(name.parse::<Dtype>().unwrap().to_string(), name);
    }
    for (name, hint) in [
        ("<M8[ns]", "xarray"),
        ("|O", "objects"),
        ("<U5", "fixed width"),
        ("<f12", "precision"),
        ("|V8", "untyped"),
        ("|S0", "empty"),
        ("", "numpy type"),
        ("float", "numpy type"),
    ] {
        let error = name.parse::<Dtype>().unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains(name), "{error}");
    }
}

#[test]
fn records_are_told_by_their_fields() {
    let field = |name: &str, offset: usize, dtype: &str, shape: &str| {
        format!(r#"{{"name":{name:?},"offset":{offset},"dtype":{dtype:?},"shape":{shape}}}"#)
    };
    let record =
        |size: usize, fields: &[String]| format!(r#"{{"size":{size},"fields":[{}]}}"#, fields.join(","));
    let inner = record(9, &[field("x", 0, "|u1", "[]"), field("y", 1, "<f8", "[]")]);
    let good = record(
        64,
        &[field("b", 40, ">i2", "[2,3]"), field("ä b", 0, "<f16", "[]"), field("c", 16, &inner, "[]")],
    );
    let dtype: Dtype = good.parse().unwrap();
    assert_eq!((dtype.to_string(), dtype.item_size()), (good.clone(), Some(64)));
    for (wrong, hint) in [
        (record(4, &[]), "no fields"),
        (record(4, &[field("a", 0, "<i8", "[]")]), "beyond"),
        (record(4, &[field("a", 0, "|S4", "[0]")]), "empty"),
        (record(4, &[field("a", 0, "|u1", "[18446744073709551615,2]")]), "beyond"),
        (record(4, &[field("a", 0, "str", "[]")]), "variable-length"),
        (record(4, &[field("", 0, "<i4", "[]")]), "name"),
        (record(8, &[field("a", 0, "<i4", "[]"), field("b", 2, "<i4", "[]")]), "overlap"),
        (record(12, &[field("a", 0, "<U3", "[]")]), "type"),
        ("{".to_owned(), "type"),
    ] {
        let error = wrong.parse::<Dtype>().unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
    // tests/matrix reads the content of the fields with h5py.
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    let bytes: Vec<u8> = (0..128).map(|byte| if byte % 64 < 16 { 0 } else { byte }).collect();
    let value =
        Value { data: Some(Object::plain(ArrayData::bytes(dtype, vec![2], &bytes))), ..Value::default() };
    writer.value("a", &value, &provenance(1)).unwrap();
    let file = hdf5_metno::File::open(writer.finish().unwrap()).unwrap();
    assert_eq!(file.dataset("a/data").unwrap().dtype().unwrap().size(), 64);
}

#[test]
fn provenance_of_other_versions_is_read() {
    let read: Provenance =
        serde_json::from_str(r#"{"stamp": {"epoch": 3, "micros": 4}, "colour": "red"}"#).unwrap();
    assert_eq!(read.stamp, PlanStamp { epoch: 3, micros: 4 });
    assert_eq!(read.outcome, StoredOutcome::Value);

    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path());
    let odd = Provenance { seconds: f64::NAN, traceback: Some("a\0b".to_owned()), ..provenance(1) };
    writer.error("a", "E", "m\0n", &odd).unwrap();
    let rows = read_reduced(&writer.finish().unwrap()).unwrap().rows;
    let stored = rows[0].provenance.as_ref().unwrap();
    assert_eq!((stored.seconds, stored.traceback.as_deref()), (0.0, Some("a\0b")));
}
