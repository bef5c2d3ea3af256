//! Files of systemd's units, as `src/shared/conf-parser.c` of <https://github.com/systemd/systemd> reads them and
//! systemd.syntax(7) describes them.
//!
//! No kept crate reads that dialect: a line goes on behind a `\` at its end, with comments in between; a later value takes
//! the place of an earlier one, an empty one takes it away.

use crate::model::unit::UnitName;

/// Bytes of a text that is told: the rest of a longer one is cut off.
const TEXT_BYTES: usize = 256;

/// What is looked at in the files of one unit: the fragment first, its drop-ins behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitText {
    /// `[Unit] Description=`.
    pub(super) description: Option<String>,
    /// `[X-Telltale] Owner=`: systemd passes over sections that begin with `X-` (systemd.unit(5)).
    pub(super) owner: Option<String>,
    /// `[Timer] Unit=`.
    pub(super) triggers: Option<String>,
    /// `[Install]` says what starts it.
    pub(super) is_wanted: bool,
}

impl UnitText {
    /// Reads one more file. What is no UTF-8 is passed over line by line, as systemd does.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut section = String::new();
        let mut line = String::new();
        for part in bytes.split(|&byte| byte == b'\n') {
            let Ok(part) = std::str::from_utf8(part) else { continue };
            let part = part.trim_start();
            if part.starts_with(['#', ';']) {
                continue;
            }
            line.push_str(part.trim_end_matches('\r'));
            if ends_escaped(&line) {
                line.pop();
                line.push(' ');
                continue;
            }
            self.take(&mut section, line.trim());
            line.clear();
        }
        self.take(&mut section, line.trim());
    }

    fn take(&mut self, section: &mut String, line: &str) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(section);
            return;
        }
        let Some((key, value)) = line.split_once('=') else { return };
        let value = value.trim();
        let given = || (!value.is_empty()).then(|| value.to_owned());
        match (section.as_str(), key.trim()) {
            ("Unit", "Description") => self.description = given(),
            ("X-Telltale", "Owner") => self.owner = given(),
            ("Timer", "Unit") => self.triggers = given(),
            ("Install", "WantedBy" | "RequiredBy" | "UpheldBy") => self.is_wanted |= !value.is_empty(),
            _ => {}
        }
    }
}

/// Whether a line ends with a `\` that is not itself behind one.
fn ends_escaped(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// A text with its specifiers (systemd.unit(5)) filled in, so far as the unit's name alone decides them; others stay as they
/// are written.
pub(super) fn expand(text: &str, unit: &str) -> String {
    let mut out = String::new();
    let Some(name) = UnitName::parse(unit) else { return out };
    let instance = name.instance.unwrap_or_default();
    let last = name.prefix.rsplit('-').next().unwrap_or_default();
    let without_suffix = unit.rsplit_once('.').map_or(unit, |(name, _)| name);
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if out.len() > TEXT_BYTES {
            break;
        }
        if next != '%' {
            out.push(next);
            continue;
        }
        match rest.next() {
            Some('n') => out.push_str(unit),
            Some('N') => out.push_str(without_suffix),
            Some('p') => out.push_str(name.prefix),
            Some('P') => out.push_str(&unescape(name.prefix)),
            Some('i') => out.push_str(instance),
            Some('I') => out.push_str(&unescape(instance)),
            Some('j') => out.push_str(last),
            Some('J') => out.push_str(&unescape(last)),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    let end = (0..=TEXT_BYTES.min(out.len())).rev().find(|&end| out.is_char_boundary(end)).unwrap_or(0);
    out.truncate(end);
    out
}

/// `unit_name_unescape` of systemd: `-` is a `/`, `\x2d` a `-`. What is no escape, or no UTF-8, stays.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = behind.strip_prefix(b"x").and_then(|hex| hex.split_first_chunk::<2>()).and_then(
            |(hex, behind)| {
                let number = u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
                Some((number, behind))
            },
        );
        match (first, escaped) {
            (b'-', _) => bytes.push(b'/'),
            (b'\\', Some((number, behind))) => {
                bytes.push(number);
                rest = behind;
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> UnitText {
        let mut unit = UnitText::default();
        unit.read(text.as_bytes());
        unit
    }

    /// The example of systemd.syntax(7), <https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html>.
    #[test]
    fn lines_go_on_as_the_manual_says() {
        let text = "[Unit]\nDescription=value 2 \\\n       value 2 continued\n";
        assert_eq!(
            read(text).description.as_deref(),
            Some("value 2         value 2 continued".replace("         ", "  ").as_str())
        );
        let text = "[Unit]\nDescription=value 3\\\n# this line is ignored\n; this line is ignored too\n       value 3 continued\n";
        assert_eq!(read(text).description.as_deref(), Some("value 3 value 3 continued"));
        assert_eq!(read("[Unit]\nDescription=a\\\\\nX=1").description.as_deref(), Some(r"a\\"));
    }

    /// `certbot.service` and `certbot.timer` as Debian has them,
    /// <https://sources.debian.org/src/python-certbot/2.1.0-4/debian/>.
    #[test]
    fn a_timer_and_its_service_are_read() {
        let service = read(
            "[Unit]\nDescription=Certbot\nDocumentation=file:///usr/share/doc/python-certbot-doc/html/index.html\n\
             Documentation=https://certbot.eff.org/docs\n[Service]\nType=oneshot\n\
             ExecStart=/usr/bin/certbot -q renew\nPrivateTmp=true\n",
        );
        assert_eq!(service, UnitText { description: Some("Certbot".into()), ..UnitText::default() });
        let timer = read(
            "[Unit]\nDescription=Run certbot twice daily\n\n[Timer]\nOnCalendar=*-*-* 00,12:00:00\n\
             RandomizedDelaySec=43200\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
        );
        assert!(timer.is_wanted);
    }

    #[test]
    fn later_files_and_empty_values_count() {
        let mut unit = read("[Unit]\nDescription=one\n[X-Telltale]\nOwner = team: web \n[X-Other]\nOwner=x");
        assert_eq!(unit.owner.as_deref(), Some("team: web"));
        unit.read(b"[Unit]\nDescription=\n[X-Telltale]\nOwner=team: shop\n\xff\xfe\n[Timer]\nUnit=a.service");
        assert_eq!((unit.description, unit.owner.as_deref()), (None, Some("team: shop")));
        assert_eq!(unit.triggers.as_deref(), Some("a.service"));
        assert_eq!(read("Description=in no section\n[Unit\nDescription=nor here"), UnitText::default());
    }

    /// <https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html#Specifiers>
    #[test]
    fn specifiers_are_filled_in() {
        for (text, unit, expected) in [
            ("PostgreSQL Cluster %i", "postgresql@15-main.service", "PostgreSQL Cluster 15-main"),
            ("Check %f, %I", r"fsck@dev-disk\x2d1.service", r"Check %f, dev/disk-1"),
            ("%n %N %p %j 100%% %", "a-b.service", "a-b.service a-b a-b b 100% %"),
            ("%i", "a.service", ""),
            ("%I", r"a@\xff\x4.service", r"\xff\x4"),
        ] {
            assert_eq!(expand(text, unit), expected, "{text}");
        }
        assert_eq!(expand(&"é".repeat(TEXT_BYTES), "a.service").len(), TEXT_BYTES);
        assert!(expand(&"%n".repeat(100_000), "a.service").len() <= TEXT_BYTES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            UnitText::default().read(&bytes);
        }

        #[test]
        fn any_lines_are_a_file(text in "(\\[(Unit|Timer|Install|X-Telltale)\\]\n|(Owner|Unit|Description) ?= ?[ -~]{0,9}\\\\?\n){0,20}") {
            let unit = read(&text);
            for text in [unit.description, unit.owner, unit.triggers].into_iter().flatten() {
                prop_assert!(!text.trim().is_empty());
                prop_assert!(expand(&text, r"a@b\x2d.service").len() <= TEXT_BYTES);
            }
        }
    }
}
