//! The digits: what the repository holds, how it is split, and files that are not it.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::{collections::BTreeSet, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use lockstep_train::data::{DataError, Digits, permutation};

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn refusal(text: &str) -> String {
    Digits::read(&gzip(text)).unwrap_err().to_string()
}

/// A line of 64 equal pixels and a digit.
fn line(pixel: &str, digit: &str) -> String {
    format!("{}{digit}\n", format!("{pixel},").repeat(64))
}

#[test]
fn both_parts_have_every_digit_and_exact_pixels() {
    let digits = Digits::load().unwrap();
    for (part, n) in [(&digits.train, 1437u32), (&digits.test, 360)] {
        assert_eq!((&part.images.decl().shape[..], &part.labels.decl().shape[..]), (&[n, 64][..], &[n][..]));
        let pixels = part.images.to_f32().unwrap();
        assert!(pixels.iter().all(|p| (0.0..=1.0).contains(p) && (p * 16.0).fract() == 0.0));
        for digit in 0..10 {
            let count = part.labels.to_u32().unwrap().iter().filter(|&&l| l == digit).count() as u32;
            assert!(count > n / 15 && count < n / 7, "{count} of {n} are {digit}");
        }
    }
    // The data set's own figures: sum of all pixels, images of each digit from 0 to 9.
    let all: f32 = [&digits.train, &digits.test].iter().flat_map(|p| p.images.to_f32().unwrap()).sum();
    assert_eq!(all * 16.0, 561_718.0);
    let labels = [&digits.train, &digits.test].map(|p| p.labels.to_u32().unwrap()).concat();
    let counts = (0..10).map(|d| labels.iter().filter(|&&l| l == d).count());
    assert_eq!(counts.collect::<Vec<_>>(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
}

#[test]
fn the_split_is_a_fixed_permutation() {
    let order = permutation(1797);
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 1797);
    assert_eq!(order.iter().max(), Some(&1796));
    assert_eq!(&order[..4], &[419, 1295, 1258, 858], "a changed split changes every job");
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(Digits::read(b"not gzip"), Err(DataError::Unpack(_))));
    let mut cut = gzip(&line("0", "1").repeat(1797));
    cut.truncate(cut.len() / 2);
    assert!(matches!(Digits::read(&cut), Err(DataError::Unpack(_))));
    assert_eq!(refusal(&line("0", "1").repeat(2)), "2 images, 1797 are needed");
    assert_eq!(refusal("1,2,3\n"), "line 1 has 3 numbers, 65 are needed: 64 pixels and the digit");
    assert_eq!(refusal(&line("17", "1")), "line 1, column 1: `17` is not a whole number from 0 to 16");
    assert_eq!(
        refusal(&(line("0", "1") + &line("0", "10"))),
        "line 2, column 65: `10` is not a whole number from 0 to 9"
    );
    assert_eq!(refusal(&line("0.5", "1")), "line 1, column 1: `0.5` is not a whole number from 0 to 16");
    assert_eq!(refusal(&" ".repeat(2 << 20)), "the digits unpack to more than 1048576 bytes");
}
