//! The words of names, as data.

use super::name::Kind;

/// Names that are a secret's as a whole, which their words would hide.
pub(super) const ALWAYS: &[(&str, Kind)] = &[
    ("SAMLResponse", Kind::Random),
    ("SAMLRequest", Kind::Random),
    ("SAMLart", Kind::Random),
    ("ASP.NET_SessionId", Kind::Random),
    ("connect.sid", Kind::Random),
];

/// Names that are never a secret's, whatever their words say.
pub(super) const NEVER: &[&str] = &["RUST_LOG", "SSH_AUTH_SOCK", "XAUTHORITY", "OLDPWD", "passfile"];

/// Words that mean a secret, and what its value must look like.
#[rustfmt::skip]
pub(super) const SECRETS: &[(&str, Kind)] = &[
    ("password", Kind::Secret), ("passwords", Kind::Random), ("passwd", Kind::Secret), ("passphrase", Kind::Secret),
    ("passcode", Kind::Secret), ("passkey", Kind::Key), ("pass", Kind::Pass), ("pwd", Kind::Pass),
    ("pw", Kind::Pass), ("pswd", Kind::Pass), ("psw", Kind::Pass), ("pword", Kind::Secret), ("pin", Kind::Pass),
    ("puk", Kind::Pass), ("cvv", Kind::Pass), ("cvc", Kind::Pass), ("otp", Kind::Pass), ("totp", Kind::Pass),
    ("mnemonic", Kind::Secret), ("secret", Kind::Secret), ("secrets", Kind::Random), ("token", Kind::Secret),
    ("tokens", Kind::Random), ("jwt", Kind::Secret), ("bearer", Kind::Secret), ("psk", Kind::Secret),
    ("preshared", Kind::Secret), ("hmac", Kind::Random), ("verifier", Kind::Random), ("assertion", Kind::Random),
    ("samlresponse", Kind::Random), ("samlrequest", Kind::Random), ("wresult", Kind::Random), ("pat", Kind::Random),
    ("appid", Kind::Random), ("macaroon", Kind::Random), ("oauth", Kind::Random), ("hashes", Kind::Random),
    ("nthash", Kind::Random), ("lmhash", Kind::Random), ("sig", Kind::Random), ("signature", Kind::Random),
    ("seed", Kind::Random), ("salt", Kind::Random), ("pepper", Kind::Random), ("encrypt", Kind::Random),
    ("decrypt", Kind::Random), ("licence", Kind::Random), ("license", Kind::Random), ("community", Kind::Pass),
    ("login", Kind::Random), ("session", Kind::Random), ("sessionid", Kind::Random), ("sessid", Kind::Random),
    ("phpsessid", Kind::Random), ("jsessionid", Kind::Random), ("sid", Kind::Random), ("ticket", Kind::Random),
    ("otpauth", Kind::Random), ("user", Kind::User), ("username", Kind::User), ("auth", Kind::Login),
    ("creds", Kind::Login), ("cred", Kind::Login), ("credential", Kind::Login), ("credentials", Kind::Login),
    ("userpass", Kind::Login), ("userpwd", Kind::Login), ("basicauth", Kind::Login),
    ("authorization", Kind::Header), ("cookie", Kind::Cookie), ("cookies", Kind::Cookie),
    ("passwort", Kind::Secret), ("kennwort", Kind::Secret), ("contrasena", Kind::Secret),
    ("motdepasse", Kind::Secret), ("senha", Kind::Secret), ("wachtwoord", Kind::Secret), ("haslo", Kind::Secret),
    ("heslo", Kind::Secret), ("losenord", Kind::Secret), ("parola", Kind::Secret), ("sifre", Kind::Secret),
    ("salasana", Kind::Secret), ("jelszo", Kind::Secret),
];

/// Endings that mean a password, in any language that writes them together; also of names that are not ASCII.
#[rustfmt::skip]
pub(super) const PASSWORD_ENDINGS: &[&str] = &[
    "password", "passwd", "passphrase", "passcode", "passwort", "kennwort", "secret", "token", "contraseña",
    "clave", "parole", "lösenord", "hasło", "şifre", "пароль", "секрет", "токен", "密码", "密碼", "口令", "パスワード", "비밀번호",
    "κωδικός", "סיסמה", "كلمةالسر",
];

/// Short endings of words written together: `storepass`, `rootpw`, `dbpwd`.
pub(super) const SHORT_ENDINGS: &[&str] = &["pass", "pwd", "pw", "passw", "sessid", "authtok"];

/// Words with such an ending that mean something else.
#[rustfmt::skip]
pub(super) const SHORT_EXCEPT: &[&str] = &[
    "bypass", "compass", "encompass", "surpass", "trespass", "highpass", "lowpass", "bandpass", "allpass",
    "overpass", "underpass", "askpass", "getpass", "libsecret", "nopass", "oldpwd", "multipass", "clave", "rpw",
    "dpw", "konclave", "enclave", "getpwd", "cwd", "singlepass", "twopass", "nopasswd", "tokentoken", "nopassword",
    "renderpass",
];

/// Endings of keys written together.
#[rustfmt::skip]
pub(super) const JOINED_KEYS: &[&str] = &[
    "apikey", "appkey", "authkey", "secretkey", "accesskey", "privatekey", "privkey", "masterkey", "accountkey",
    "sharedkey", "signingkey", "signkey", "licensekey", "licencekey", "encryptionkey", "cryptkey", "sessionkey",
    "storagekey", "sshkey", "unsealkey", "recoverykey", "presharedkey", "integrationkey", "servicekey", "writekey",
    "streamkey", "deploykey", "seckey", "aeskey", "hmackey", "fernetkey", "productkey", "serverkey", "userkey",
];

/// What before `key` makes it a secret whatever its value looks like.
#[rustfmt::skip]
pub(super) const KEY_QUALIFIERS: &[&str] = &[
    "api", "secret", "private", "priv", "access", "auth", "account", "master", "signing", "encryption",
    "decryption", "cipher", "crypt", "crypto", "shared", "preshared", "license", "licence", "unseal", "recovery",
    "activation", "product", "subscription", "hmac", "aes", "fernet", "jwt", "gossip", "wrapping", "webhook",
    "ingestion", "instrumentation", "integration", "registration", "enrollment", "provisioning", "deploy", "admin",
    "stream", "sas", "unlock", "security", "join", "storage", "sse", "iface",
];

/// Keys that a program derives or names rather than takes: hidden only where they look random.
pub(super) const GENERATED: &[&str] =
    &["storage", "join", "unlock", "security", "stream", "admin", "deploy", "sse"];

/// Whose key, or which part of a record: `sort key`, `public key`, `encrypt to key`.
#[rustfmt::skip]
pub(super) const KEY_OWNERS: &[&str] = &[
    "public", "pub", "sort", "primary", "foreign", "partition", "hash", "range", "cache", "project", "object",
    "row", "group", "route", "routing", "map", "idempotency", "kms", "host", "known", "trusted", "default", "recv",
    "lsign", "encrypt", "sign", "local", "gpg", "pgp", "repo", "dedupe", "cursor", "issue", "peer", "parent",
    "config",
];

/// The words before `key id` of a pair whose other half is secret.
pub(super) const KEY_IDENTIFIERS: &[&str] = &["access", "api", "application", "app"];

/// Words for a password: whether it is one does not depend on what kind of token it would be.
pub(super) const PASSES: &[&str] =
    &["password", "passwd", "passphrase", "pass", "pwd", "pw", "passcode", "passwords"];

/// Words that count things more often than they hold secrets.
pub(super) const COUNTED: &[&str] = &["tokens", "secrets", "passwords"];

/// Tails that leave the meaning as it is.
#[rustfmt::skip]
pub(super) const MEANINGLESS: &[&str] = &[
    "value", "val", "string", "str", "text", "txt", "plain", "plaintext", "clear", "cleartext", "raw", "data",
    "binary", "base", "b", "hex", "bin", "new", "old", "current", "confirm", "confirmation", "again", "repeat",
    "verify", "prod", "production", "dev", "development", "test", "testing", "staging", "stage", "live", "sandbox",
    "local", "main", "primary", "secondary", "ro", "rw", "read", "write", "master", "root", "admin", "answer",
    "api", "input", "arg", "pypi", "npm", "github", "gitlab", "io", "com", "org", "net", "eu", "us",
];

/// Tails that say the value is about the secret and not it.
#[rustfmt::skip]
pub(super) const NOT_A_SECRET_AFTER: &[&str] = &[
    "file", "files", "filename", "path", "paths", "dir", "dirs", "directory", "folder", "name", "names", "id",
    "ids", "type", "types", "kind", "ttl", "timeout", "expiry", "expire", "expires", "expired", "expiration",
    "lifetime", "length", "len", "size", "count", "counts", "number", "num", "policy", "policies", "url", "urls",
    "uri", "uris", "endpoint", "endpoints", "env", "cmd", "command", "helper", "store", "mode", "method", "methods",
    "format", "header", "headers", "field", "prompt", "stdin", "fd", "hint", "change", "changed", "changes",
    "rotation", "rotate", "age", "days", "hours", "minutes", "seconds", "version", "versions", "provider", "server",
    "service", "issuer", "audience", "scope", "scopes", "prefix", "suffix", "alg", "algorithm", "algo", "encoding",
    "manager", "ref", "refs", "selector", "source", "label", "labels", "description", "desc", "title", "index",
    "column", "enabled", "disabled", "required", "authentication", "authenticator", "lock", "note", "notes",
    "generator", "cost", "rounds", "bits", "curve", "usage", "agent", "plugin", "cache", "bucket", "parallelism",
    "location", "alias", "arn", "state", "status", "batch", "limit", "limits", "per", "sec", "param", "parameter",
    "params", "var", "variable", "strength", "validator", "validation", "hashing", "rule", "rules", "regex",
    "pattern", "template", "config", "conf", "settings", "options", "opt", "opts", "mount", "volume", "backend",
    "engine", "driver", "class", "handler", "callback", "script", "exec", "program", "interval", "period", "delay",
    "retry", "retries", "attempts", "tries", "domain", "secure", "samesite", "httponly", "checksum", "fingerprint",
    "rm", "exists", "existing", "keys", "through", "remarks", "list", "info", "meta", "metadata", "review",
    "request", "requests", "response", "event", "events", "reader", "writer", "bind", "svc", "svr", "host", "port",
    "addr", "address", "user", "username", "email", "owner", "role", "group", "space", "logfile", "log", "level",
    "min", "max", "reset", "grace", "jar", "spec", "dist", "unsafe", "plan", "kid", "subject", "only", "rotator",
    "refresher", "verification", "check", "checks", "support", "flow", "grant", "consent", "gate", "ui",
    "timestamp", "date", "time", "created", "updated", "quality", "history", "reuse", "threshold", "protection",
    "encryption",
];

/// Heads that do the same.
pub(super) const NOT_A_SECRET_BEFORE: &[&str] = &[
    "no", "not", "non", "without", "ask", "prompt", "max", "min", "minimum", "maximum", "num", "number",
    "count", "require", "requires", "allow", "enable", "disable", "skip", "existing", "is", "has",
    "checksum", "sha", "digest", "show", "print", "list", "sort", "forgot", "public", "pub", "lib", "libs",
    "empty", "valid", "invalid", "build", "commit", "hide", "mask", "sticky",
];

/// Heads of a code that is no secret.
pub(super) const NOT_A_CODE_BEFORE: &[&str] = &[
    "exit", "status", "http", "response", "zip", "postal", "country", "error", "return", "reason", "source",
    "area",
];

/// Heads that make a token no secret: of a language model, of a page of results, of a parser.
#[rustfmt::skip]
pub(super) const NOT_A_TOKEN_BEFORE: &[&str] = &[
    "pad", "eos", "bos", "unk", "sep", "cls", "mask", "special", "next", "page", "pagination", "continuation",
    "starting", "prev", "previous", "stop", "end", "start", "resume", "image", "max", "total", "prompt",
    "completion", "vocab", "delimiter",
];
