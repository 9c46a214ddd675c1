use amore_results::{
    ArrayData, Content, Dim, Dtype, LargeArrayWriter, Layout, NetcdfVariable, Object, ResultsError, Value,
};

use super::*;

fn large(directory: &Path, shape: &[u64], compress: bool) -> LargeArrayWriter {
    LargeArrayWriter::create(directory, PROPOSAL, RUN, "big", F64, shape, compress).unwrap()
}

#[test]
fn any_pieces_give_the_same_array() {
    let directory = tempfile::tempdir().unwrap();
    for shape in [&[300_000][..], &[3, 70_000], &[7, 11, 2000], &[], &[0, 4]] {
        let count = shape.iter().product::<u64>();
        let values: Vec<f64> = (0..count).map(|i| (i % 1000) as f64).collect();
        for compress in [false, true] {
            for piece in [1 << 30, 1_000_003, 4096] {
                let mut writer = large(directory.path(), shape, compress);
                for part in bytes(&values).chunks(piece) {
                    writer.write(part).unwrap();
                }
                let array = writer.finish().unwrap();
                assert_eq!((array.dtype(), array.shape()), (&F64, shape));
                assert!(read(array.path(), "data") == values, "{shape:?} {compress} {piece}");
                let stored = std::fs::metadata(array.path()).unwrap().len();
                assert!(!compress || count < 1000 || stored < count * 4, "it is compressed: {stored}");
            }
        }
    }
}

#[test]
fn an_array_file_appears_complete_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let arrays = directory.path().join("arrays/p1234_r42");
    for compress in [false, true] {
        let mut writer = large(directory.path(), &[1000], compress);
        writer.write(&[0; 4000]).unwrap();
        let error = writer.finish().unwrap_err().to_string();
        assert!(error.contains("4000 of the 8000 bytes"), "{error}");
        let mut writer = large(directory.path(), &[1000], compress);
        let error = writer.write(&[0; 8001]).unwrap_err().to_string();
        assert!(error.contains("more data are given than the 8000 bytes"), "{error}");
        drop(writer);
        assert_eq!(names(&arrays), [""; 0]);
    }
    let text = LargeArrayWriter::create(directory.path(), PROPOSAL, RUN, "big", Dtype::Text, &[1], false);
    assert!(matches!(text, Err(ResultsError::BadValue { .. })));
    let name = LargeArrayWriter::create(directory.path(), PROPOSAL, RUN, "../big", F64, &[1], false);
    assert!(matches!(name, Err(ResultsError::Name(_))));
}

/// A netCDF group with one array in a separate file.
pub fn store_large(directory: &Path, name: &str, values: &[f64], micros: u64) -> PathBuf {
    let shape = vec![values.len() as u64];
    let mut array = LargeArrayWriter::create(directory, PROPOSAL, RUN, name, F64, &shape, true).unwrap();
    array.write(&bytes(values)).unwrap();
    let array = ArrayData { dtype: F64, shape, content: Content::Large(array.finish().unwrap()) };
    let variable = NetcdfVariable {
        name: "v".to_owned(),
        dims: vec!["x".to_owned()],
        compress: true,
        attrs: Vec::new(),
        array,
    };
    let dims = vec![Dim { name: "x".to_owned(), size: values.len() as u64 }];
    let layout = Layout::Netcdf { dims, variables: vec![variable], attrs: Vec::new() };
    let value = Value {
        data: Some(Object { objtype: Some("dataset".to_owned()), layout, returned: None }),
        ..Value::default()
    };
    let mut writer = writer(directory);
    writer.value(name, &value, &provenance(micros)).unwrap();
    writer.finish().unwrap()
}

#[test]
fn an_array_of_another_shape_is_not_referred_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut array = large(directory.path(), &[2], false);
    array.write(&bytes(&[1.0, 2.0])).unwrap();
    let content = Content::Large(array.finish().unwrap());
    let value = Value {
        data: Some(Object::plain(ArrayData { dtype: F64, shape: vec![3], content })),
        ..Value::default()
    };
    let error = writer(directory.path()).value("a", &value, &provenance(1)).unwrap_err().to_string();
    assert!(error.contains("its array file has shape [2]"), "{error}");
}

#[test]
fn large_arrays_are_read_through_the_run_file() {
    let directory = tempfile::tempdir().unwrap();
    let values: Vec<f64> = (0..500_000).map(f64::from).collect();
    let first = store_large(directory.path(), "big", &values, 1);
    let second = fragment(directory.path(), "small", 1.0, 1);
    merge(directory.path(), &[first]);
    merge(directory.path(), &[second]);
    let file = run_file(directory.path());
    assert!(read(&file, "big/v") == values);
    assert_eq!(read(&file, "small/data"), [1.0]);
    assert!(std::fs::metadata(&file).unwrap().len() < 100_000);
}
