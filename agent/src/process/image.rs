//! What is kept of an exec: redacted first, then bounded (a cut before redaction could leave half a secret that no
//! rule recognises).

use agent_common::limits::{ARGV_BYTES, MARKER_VALUE_BYTES, PATH_BYTES};

use super::Redactor;
use crate::model::bytes::RawBytes;
use crate::model::process::{ExecImage, Marker};

/// Environment markers kept of one process; the catalogue names fewer that occur together.
const MARKERS: usize = 64;

/// The image to keep, and whether something had to be cut.
pub(super) fn keep(image: ExecImage, redact: Redactor) -> (ExecImage, bool) {
    let ExecImage {
        exe,
        exe_file,
        filename,
        interpreter,
        script,
        argv,
        argument_count,
        argv_truncated,
        cwd,
        mut markers,
        markers_truncated,
        preload,
        stdio,
        capabilities_permitted,
    } = image;
    let mut cut = false;
    let mut path = |path: RawBytes| bounded(redact_one(path, redact), PATH_BYTES, &mut cut);
    let (exe, filename, interpreter, cwd) = (path(exe), path(filename), path(interpreter), path(cwd));
    let (argv, argv_cut) = keep_argv(redact(&argv));
    let markers_cut = markers.len() > MARKERS;
    markers.truncate(MARKERS);
    let markers = markers
        .into_iter()
        .map(|Marker { name, value }| Marker {
            name,
            value: value.map(|value| bounded(redact_one(value, redact), MARKER_VALUE_BYTES, &mut cut)),
        })
        .collect();
    let image = ExecImage {
        exe,
        exe_file,
        filename,
        interpreter,
        script,
        argv,
        argument_count,
        argv_truncated: argv_truncated || argv_cut,
        cwd,
        markers,
        markers_truncated: markers_truncated || markers_cut,
        preload,
        stdio,
        capabilities_permitted,
    };
    (image, cut || argv_cut || markers_cut)
}

/// Arguments up to [`ARGV_BYTES`], a separator each included; the last may lose its end.
fn keep_argv(mut argv: Vec<RawBytes>) -> (Vec<RawBytes>, bool) {
    let mut room = ARGV_BYTES;
    for (index, argument) in argv.iter_mut().enumerate() {
        let length = argument.as_bytes().len() + 1;
        if length <= room {
            room -= length;
            continue;
        }
        let mut cut = false;
        *argument = bounded(argument.clone(), room, &mut cut);
        argv.truncate(index + usize::from(room > 0));
        return (argv, true);
    }
    (argv, false)
}

fn redact_one(bytes: RawBytes, redact: Redactor) -> RawBytes {
    if bytes.is_empty() {
        return bytes;
    }
    redact(&[bytes]).into_iter().next().unwrap_or_default()
}

fn bounded(bytes: RawBytes, limit: usize, cut: &mut bool) -> RawBytes {
    match bytes.as_bytes().get(..limit) {
        Some(head) if head.len() < bytes.as_bytes().len() => {
            *cut = true;
            head.into()
        }
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stars(argv: &[RawBytes]) -> Vec<RawBytes> {
        argv.iter()
            .map(|a| if a.as_bytes().ends_with(b"secret") { "***".into() } else { a.clone() })
            .collect()
    }

    #[test]
    fn every_text_of_an_image_passes_the_redactor() {
        let image = ExecImage {
            exe: "/x/secret".into(),
            filename: "./secret".into(),
            interpreter: "isecret".into(),
            cwd: "/secret".into(),
            argv: vec!["a".into(), "b=secret".into()],
            markers: vec![Marker { name: "JENKINS_URL".into(), value: Some("http://u:secret".into()) }],
            ..ExecImage::default()
        };
        let (kept, cut) = keep(image, stars);
        assert!(!cut);
        assert!(!format!("{kept:?}").contains("secret"), "{kept:?}");
        assert_eq!(kept.argv, ["a".into(), RawBytes::from("***")]);
    }

    #[test]
    fn arguments_are_cut_after_redaction_and_say_so() {
        let long = RawBytes::from(vec![b'x'; ARGV_BYTES]);
        for (argv, kept_lengths) in [
            (vec![long.clone(), "y".into()], vec![ARGV_BYTES]),
            (vec!["abc".into(), long.clone(), "y".into()], vec![3, ARGV_BYTES - 4]),
            (vec![vec![b'x'; ARGV_BYTES - 1].into(), "y".into()], vec![ARGV_BYTES - 1]),
        ] {
            let (kept, cut) = keep(ExecImage { argv, ..ExecImage::default() }, |argv| argv.to_vec());
            assert!(cut && kept.argv_truncated);
            assert_eq!(kept.argv.iter().map(|a| a.as_bytes().len()).collect::<Vec<_>>(), kept_lengths);
        }
        let image = ExecImage { argv: vec![long, "x=secret".into()], ..ExecImage::default() };
        let (kept, _) = keep(image, |argv| argv.iter().map(|_| "*".into()).collect());
        assert_eq!(kept.argv.len(), 2);
        assert!(!kept.argv_truncated);
    }
}
