use super::super::pattern::PatternError;
use super::*;

/// Rules as text: `name=flags` and `suffix`.
fn rules(paths: &[&str]) -> Result<Vec<String>, RuleError> {
    let mut builder = RulesBuilder::default();
    for path in paths {
        for pattern in Pattern::parse(path).unwrap_or_else(|error: PatternError| panic!("{path}: {error}")) {
            builder.add(&pattern)?;
        }
    }
    let rules = builder.build()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let names = rules.names.iter().map(|(name, flags)| format!("{}={flags}", text(&name.0)));
    Ok(names.chain(rules.suffixes.iter().map(|suffix| text(&suffix.0))).collect())
}

#[test]
fn each_shape() {
    let cases: [(&str, &[&str]); 14] = [
        ("/etc/shadow", &["etc=4", "shadow=2"]),
        ("~/.netrc", &[".netrc=1"]),
        ("~/.aws/credentials", &[".aws=4", "credentials=2"]),
        ("~/.ssh/id_*", &[".ssh=8"]),
        ("/etc/sudoers.d/*", &["sudoers.d=8"]),
        ("~/.oci/**", &[".oci=16"]),
        ("~/.aws/cli/cache/*.json", &["cli=16"]),
        ("**/*.pem", &[".pem"]),
        ("**/*.tar.pem", &[".pem"]),
        ("**/x*.tfstate", &[".tfstate"]),
        ("/etc/letsencrypt/live/*/privkey.pem", &["privkey.pem=1"]),
        ("/run/secrets/kubernetes.io/serviceaccount/**/token", &["serviceaccount=16"]),
        ("/usr/lib/*.key", &[".key"]),
        ("/etc/pki/**/*.key", &[".key"]),
    ];
    for (path, expected) in cases {
        assert_eq!(rules(&[path]).unwrap(), expected, "{path}");
    }
    assert_eq!(rules(&["/a/x", "/x/b", "/x/**"]).unwrap(), ["a=4", "b=2", "x=22"]);
}

#[test]
fn what_the_kernel_cannot_look_for() {
    for path in [
        "/tmp/krb5cc_*",
        "**/*.json",
        "**/config.json",
        "/etc/**",
        "**/service*",
        "**/*.veryl?ng",
        "**/**",
        "~/*",
        "**/*.toolong-suffix",
    ] {
        assert_eq!(rules(&[path]), Err(RuleError::NothingTelling), "{path}");
    }
    let long = "n".repeat(63);
    assert_eq!(rules(&[&format!("~/{long}")]), Err(RuleError::TooLong(long.clone())));
    assert!(rules(&[&format!("~/{}", "n".repeat(62))]).is_ok());
    assert_eq!(rules(&[&format!("~/.x/{}f", "*/".repeat(12))]), Ok(vec!["f=1".into()]));
    assert_eq!(rules(&[&format!("~/.x/{}f*", "*/".repeat(12))]), Err(RuleError::TooFar(".x".into())));
    assert!(rules(&[&format!("~/.x/{}f*", "*/".repeat(11))]).is_ok());
    let many: Vec<String> = (0..=RULE_NAMES).map(|number| format!("~/name{number}")).collect();
    assert_eq!(rules(&many.iter().map(String::as_str).collect::<Vec<_>>()), Err(RuleError::TooMany));
}

#[test]
fn the_reference_of_the_kernels_filter() {
    let mut builder = RulesBuilder::default();
    for path in ["/etc/shadow", "~/.netrc", "~/.ssh/id_*", "~/.oci/**", "**/*.pem", "**/*.tfstate"] {
        builder.add(&Pattern::parse(path).unwrap()[0]).unwrap();
    }
    let rules = builder.build().unwrap();
    let admits = |path: &str| {
        let components: Vec<&[u8]> =
            path.split('/').filter(|part| !part.is_empty()).map(str::as_bytes).collect();
        rules.admits(&components)
    };
    let long = "n".repeat(70);
    for path in [
        "/etc/shadow",
        "/x/etc/shadow",
        "/a/.netrc",
        "/h/.ssh/known_hosts",
        "/.oci/a/b/c",
        "/x.pem",
        "/.pem",
        "/a/b.tfstate",
        &format!("/{long}.pem"),
        &format!("/.oci/{}f", "d/".repeat(11)),
    ] {
        assert!(admits(path), "{path}");
    }
    for path in [
        "/",
        "/shadow",
        "/etc/passwd",
        "/.ssh/a/b",
        "/x.pem.txt",
        "/pem",
        "/.oci",
        "/a.xtfstate",
        &format!("/.oci/{}f", "d/".repeat(12)),
    ] {
        assert!(!admits(path), "{path}");
    }
}
