//! What a name says of the value beside it: `DB_PASSWORD`, `--api-key`, `SecretAccessKey`, `sonar.login`.
//!
//! A name is cut into words at signs and at changes of case. The last word that means a secret decides, unless a word
//! beside it takes the meaning away: `token_ttl` is a time, `password-file` a path, `public-key` no secret.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::text::{among, at, cut, ends_with_any};
use super::words::{
    ALWAYS, COUNTED, GENERATED, JOINED_KEYS, KEY_IDENTIFIERS, KEY_OWNERS, KEY_QUALIFIERS, MEANINGLESS, NEVER,
    NOT_A_CODE_BEFORE, NOT_A_SECRET_AFTER, NOT_A_SECRET_BEFORE, NOT_A_TOKEN_BEFORE, PASSES, PASSWORD_ENDINGS,
    SECRETS, SHORT_ENDINGS, SHORT_EXCEPT,
};

/// What a value must look like to be the secret that its name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything but a stand-in.
    Secret,
    /// Anything but a stand-in, a small number or the name of a file.
    Key,
    /// The name is a short word with other meanings (`pass`, `pin`): no small number either.
    Pass,
    /// Only what looks random: the name alone says little (`key`, `code`, `sig`).
    Random,
    /// `user:password`, or what looks random.
    Login,
    /// A user, perhaps with a password after a colon.
    User,
    /// The value of an `Authorization` header: a scheme, then the credentials.
    Header,
    /// `name=value` pairs of a cookie.
    Cookie,
}

/// The longest name worth reading; of a longer one, its end.
const LONGEST: usize = 96;
/// The most words of a name that are looked at, from its end.
const MOST_WORDS: usize = 12;

/// All that a name must have a part of to say anything: most names are done with here.
static TELLING: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let words = SECRETS.iter().chain(ALWAYS).map(|(word, _)| *word);
    let endings = PASSWORD_ENDINGS.iter().chain(SHORT_ENDINGS).copied();
    let parts = words.chain(endings).chain(["key", "code", "phrase", "words"]);
    AhoCorasick::builder().ascii_case_insensitive(true).build(parts).ok()
});

/// What `name` says of its value; nothing where the name does not suggest a secret.
pub(super) fn kind(name: &[u8]) -> Option<Kind> {
    let name = name.get(name.len().saturating_sub(LONGEST)..).unwrap_or(name);
    if name.len() < 2 || among(name, NEVER) {
        return None;
    }
    if !TELLING.as_ref().is_some_and(|telling| telling.is_match(name)) {
        return None;
    }
    if let Some((_, kind)) = ALWAYS.iter().find(|(whole, _)| name.eq_ignore_ascii_case(whole.as_bytes())) {
        return Some(*kind);
    }
    if !name.is_ascii() {
        return PASSWORD_ENDINGS.iter().any(|word| name.ends_with(word.as_bytes())).then_some(Kind::Secret);
    }
    let mut words: [&[u8]; MOST_WORDS] = [&[]; MOST_WORDS];
    let count = split(name, &mut words);
    let words = words.get(..count).unwrap_or_default();
    for (index, word) in words.iter().enumerate() {
        let after = words.get(..index).unwrap_or_default();
        let before = words.get(index + 1..).unwrap_or_default();
        let Some(found) = meaning(word, before) else { continue };
        return weigh(found, word, before, after);
    }
    None
}

/// The words of `name` from the last to the first; answers how many. Trailing digits of a word are left off.
fn split<'a>(name: &'a [u8], words: &mut [&'a [u8]]) -> usize {
    let mut end = name.len();
    let mut count = 0;
    while end > 0 && count < words.len() {
        if !at(name, end - 1).is_ascii_alphanumeric() {
            end -= 1;
            continue;
        }
        let mut start = end - 1;
        while start > 0 && !is_boundary(name, start) {
            start -= 1;
        }
        let word = cut(name, start..end);
        let letters = word.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
        if let (Some(slot), true) = (words.get_mut(count), letters > 0) {
            *slot = cut(word, 0..letters);
            count += 1;
        }
        end = start;
    }
    count
}

/// Whether a word of `name` starts at `index`: after a sign, at a capital after a small letter or a digit, and at the
/// last of several capitals when a small letter follows (`APIKey`).
fn is_boundary(name: &[u8], index: usize) -> bool {
    let (previous, this, next) = (at(name, index - 1), at(name, index), at(name, index + 1));
    !previous.is_ascii_alphanumeric()
        || (this.is_ascii_uppercase()
            && (previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || (previous.is_ascii_uppercase() && next.is_ascii_lowercase())))
}

/// What one word means; `before` are the words before it, the nearest first.
fn meaning(word: &[u8], before: &[&[u8]]) -> Option<Kind> {
    if let Some((_, kind)) = SECRETS.iter().find(|(text, _)| word.eq_ignore_ascii_case(text.as_bytes())) {
        return Some(*kind);
    }
    if among(word, &["phrase", "words"]) {
        let of_keys = ["seed", "recovery", "secret", "backup", "wallet", "mnemonic", "pass"];
        return before.first().is_some_and(|owner| among(owner, &of_keys)).then_some(Kind::Secret);
    }
    if word.eq_ignore_ascii_case(b"code") {
        let once = [
            "token",
            "mfa",
            "otp",
            "totp",
            "auth",
            "verification",
            "sms",
            "security",
            "pin",
            "backup",
            "recovery",
        ];
        let short = before.first().is_some_and(|owner| among(owner, &once));
        return Some(if short { Kind::Pass } else { Kind::Random });
    }
    if word.eq_ignore_ascii_case(b"key") {
        return Some(key_meaning(before.first().copied().unwrap_or_default()));
    }
    if word.len() > 5 && ends_with_any(word, JOINED_KEYS) {
        return Some(Kind::Key);
    }
    if word.len() > 4 && ends_with_any(word, PASSWORD_ENDINGS) && !among(word, SHORT_EXCEPT) {
        return Some(Kind::Secret);
    }
    (word.len() > 3 && ends_with_any(word, SHORT_ENDINGS) && !among(word, SHORT_EXCEPT)).then_some(Kind::Pass)
}

/// `key` by the word before it: `secret key` and `api key` are secrets, `sort key` is not; whose key it is says little.
fn key_meaning(qualifier: &[u8]) -> Kind {
    if among(qualifier, KEY_QUALIFIERS) { Kind::Key } else { Kind::Random }
}

/// The kind that is left when the words around `word` have been heard.
fn weigh(found: Kind, word: &[u8], before: &[&[u8]], after: &[&[u8]]) -> Option<Kind> {
    let is_key = word.eq_ignore_ascii_case(b"key");
    if is_key && after.first().is_some_and(|next| next.eq_ignore_ascii_case(b"id")) {
        // The public half of a pair. `access_key_id` is hidden with its other half, a plain key id is not.
        let paired = before.first().is_some_and(|word| among(word, KEY_IDENTIFIERS));
        return paired.then_some(Kind::Random);
    }
    if among(word, &["secret", "session"]) && after.first().is_some_and(|next| among(next, &["id"])) {
        return Some(Kind::Random);
    }
    if word.eq_ignore_ascii_case(b"session") {
        return None;
    }
    if after.iter().any(|next| among(next, &["hash", "hashes", "hashed", "digest"])) {
        return (!after.iter().any(|next| among(next, NOT_A_SECRET_AFTER))).then_some(Kind::Random);
    }
    let is_pass = among(word, PASSES);
    let taken_back = |next: &&[u8]| {
        among(next, NOT_A_SECRET_AFTER)
            || (is_pass && among(next, &["key", "keys", "auth", "authentication"]))
    };
    let refused = |previous: &&[u8]| {
        among(previous, NOT_A_SECRET_BEFORE)
            || (!is_pass && among(previous, NOT_A_TOKEN_BEFORE))
            || (word.eq_ignore_ascii_case(b"code") && among(previous, NOT_A_CODE_BEFORE))
            || (is_key && found == Kind::Random && among(previous, KEY_OWNERS))
    };
    if after.iter().any(taken_back) || before.iter().any(refused) {
        return None;
    }
    let plain = after.iter().all(|next| among(next, MEANINGLESS));
    Some(match found {
        _ if among(word, COUNTED) => Kind::Random,
        Kind::User if !plain => return None,
        Kind::Header | Kind::Cookie | Kind::Login if !plain => Kind::Random,
        Kind::Pass if !plain => return None,
        Kind::Secret | Kind::Key if !plain => Kind::Pass,
        Kind::Key if before.first().is_some_and(|previous| among(previous, GENERATED)) => Kind::Random,
        kind => kind,
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, kind};

    #[test]
    fn the_telling_parts_fit_one_automaton() {
        assert!(super::TELLING.is_some());
    }

    #[test]
    fn a_name_is_read_by_its_last_telling_word() {
        for (name, expected) in [
            ("DB_PASSWORD", Some(Kind::Secret)),
            ("trustStorePassword", Some(Kind::Secret)),
            ("APIKey", Some(Kind::Key)),
            ("apikey", Some(Kind::Key)),
            ("SecretAccessKey", Some(Kind::Key)),
            ("PGPASSWORD", Some(Kind::Secret)),
            ("password2", Some(Kind::Secret)),
            ("DB_PASS", Some(Kind::Pass)),
            ("requirepass", Some(Kind::Pass)),
            ("key", Some(Kind::Random)),
            ("SECRET_KEY_BASE", Some(Kind::Key)),
            ("пароль", Some(Kind::Secret)),
            ("token-ttl", None),
            ("password_file", None),
            ("PasswordAuthentication", None),
            ("public-key", None),
            ("sort_key", None),
            ("pad-token", None),
            ("max_tokens", None),
            ("bypass", None),
            ("libsecret", None),
            ("keyboard", None),
            ("author", None),
        ] {
            assert_eq!(kind(name.as_bytes()), expected, "{name}");
        }
    }
}
