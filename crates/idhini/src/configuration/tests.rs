use std::collections::HashSet;

use super::*;

/// What a file, variables and flags together say.
fn read(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Configuration, Vec<String>> {
    read_of(Server::Serve, file, variables, flags)
}

fn read_of(
    server: Server,
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Configuration, Vec<String>> {
    let mut mistakes = Vec::new();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let environment = environment::read(server, variables, &mut mistakes);
    let file = file::parse(server, Path::new("server.toml"), file, &mut mistakes);
    let mut given = Layer::new();
    for (name, value) in flags {
        let setting = table::settings().find(|setting| setting.name == *name).unwrap();
        given.push((setting, Said { values: vec![OsString::from(value)], origin: Origin::Flag }));
    }
    Configuration::of(server, [file, environment.layer, given], mistakes).map_err(|mistakes| {
        let one_by_one = mistakes.0.into_iter().map(|mistake| Mistakes(vec![mistake]).to_string());
        one_by_one.collect()
    })
}

fn mistakes(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    read(file, variables, flags).unwrap_err()
}

#[test]
fn a_flag_overrules_a_variable_which_overrules_the_file_which_overrules_the_default() {
    let file = "history = \"3h\"\ncost-max = 3\nupdates-max = 3\n";
    let variables = [("IDHINI_HISTORY", "2h"), ("IDHINI_COST_MAX", "2")];
    let configuration = read(file, &variables, &[("history", "1h")]).unwrap();
    let settings = &configuration.settings;
    assert_eq!(settings.node.namespace.history_seconds, Some(3600));
    assert_eq!((settings.limits.cost_max, settings.limits.updates_max), (2, 3));
    assert_eq!(settings.limits.bulk_items_max, Limits::default().bulk_items_max);
    assert_eq!(*configuration.origin("history"), Origin::Flag);
    assert_eq!(*configuration.origin("cost-max"), Origin::Environment);
    let in_file = Origin::File { path: PathBuf::from("server.toml"), line: 3, column: 1 };
    assert_eq!(*configuration.origin("updates-max"), in_file);
    assert_eq!(*configuration.origin("bulk-items-max"), Origin::Default);
}

#[test]
fn keys_of_one_place_replace_those_of_another() {
    let keys = |configuration: Configuration| configuration.settings.preshared_keys.0;
    let file = "preshared-key = [\"a\", \"b,c\"]";
    assert_eq!(keys(read(file, &[], &[]).unwrap()), ["a", "b,c"]);
    let variables = [("IDHINI_PRESHARED_KEY", "d,e")];
    assert_eq!(keys(read(file, &variables, &[]).unwrap()), ["d", "e"]);
    assert_eq!(keys(read(file, &variables, &[("preshared-key", "f,g")]).unwrap()), ["f,g"]);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place_and_remedy() {
    let file =
        "histroy = \"1h\"\n\n  updates-max = 0 # none\nephemeral = \"yes\"\nstores-max = 5\n[limits]\n";
    let variables = [("IDHINI_COST_MAX", "much"), ("IDHINI_DATADIR", "x"), ("IDHINI_QUITE_ELSE", "x")];
    let told = mistakes(file, &variables, &[("grpc-addr", "10.0.0.1:1"), ("relationships", "r.txt")]);
    let expected = [
        ("IDHINI_DATADIR: there is no such setting", "did you mean `IDHINI_DATA_DIR`?"),
        ("IDHINI_QUITE_ELSE: there is no such setting", "unset it"),
        ("server.toml:1:1: `histroy` is not a setting", "did you mean `history`?"),
        ("server.toml:4:1: `ephemeral`: it is either true or false", "write true or false"),
        ("server.toml:5:1: `stores-max` is not a setting of this command", "take the line out"),
        ("server.toml:6:2: `limits` is not a setting", "settings stand in no table"),
        ("server.toml:3:3: `updates-max`: `0` is out of range", "write a number from 1 on"),
        ("IDHINI_COST_MAX: `much` is no such number", "write a number from 1 on"),
        ("--grpc-addr: 10.0.0.1:1 is not a loopback address", "set --tls-cert-file"),
        ("--relationships: relationships cannot be loaded without the schema", "--schema FILE"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (what, remedy)) in told.iter().zip(expected) {
        assert!(told.starts_with(what) && told.contains(remedy), "{told}: {what}: {remedy}");
    }
}

#[test]
fn a_value_that_is_overruled_is_judged_too() {
    let told = mistakes("history = \"soon\"", &[], &[("history", "1h")]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("server.toml:1:1") && told[0].contains("`soon`"), "{told:?}");
}

#[test]
fn an_ephemeral_server_has_no_data_directory() {
    let told = mistakes("data-dir = \"x\"", &[], &[("ephemeral", "true")]);
    assert!(told[0].starts_with("--ephemeral and server.toml:1:1: "), "{told:?}");
    assert!(read("data-dir = \"x\"\nephemeral = true", &[], &[("ephemeral", "false")]).is_ok());
    assert!(read("", &[], &[("ephemeral", "true")]).is_ok());
}

#[test]
fn nothing_is_said_by_what_is_empty() {
    for setting in table::settings().filter(|setting| setting.is_of(Server::Serve)) {
        let told = mistakes("", &[(&setting.variable(), "")], &[]);
        assert!(told[0].starts_with(&format!("{}: it is empty", setting.variable())), "{told:?}");
    }
    assert!(mistakes("", &[("IDHINI_PRESHARED_KEY", "a,,b")], &[])[0].contains("it is empty"));
    assert!(mistakes("", &[("IDHINI_CONFIG", "")], &[])[0].contains("it is empty"));
}

#[test]
fn variables_of_others_are_passed_over() {
    let others = [
        ("IDHINI_ADDR", "127.0.0.1:1"),
        ("IDHINI_TOKEN", "x"),
        ("IDHINI_CLIENT_FILE", "x"),
        ("IDHINI_SERVICE_HOST", "10.0.0.1"),
        ("IDHINI_SERVICE_PORT_GRPC", "50051"),
        ("IDHINI_PORT", "tcp://10.0.0.1:50051"),
        ("IDHINI_READER_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("OTHER_HISTORY", "soon"),
        // Of another command, in the same environment.
        ("IDHINI_STORES_MAX", "many"),
    ];
    assert!(read("", &others, &[]).is_ok());
    assert_eq!(mistakes("", &[("IDHINI_PORT", "50051")], &[]).len(), 1);
    assert_eq!(mistakes("", &[("IDHINI_EXPORT_ROWS", "1")], &[]).len(), 1);
}

#[test]
fn a_server_for_tests_keeps_nothing() {
    let told =
        read_of(Server::ServeTesting, "data-dir = \"x\"\npreshared-key = \"x\"", &[], &[]).unwrap_err();
    assert_eq!(told.len(), 2, "{told:?}");
    let variables = [("IDHINI_DATA_DIR", "x"), ("IDHINI_STORES_MAX", "7")];
    let configuration = read_of(Server::ServeTesting, "", &variables, &[]).unwrap();
    assert_eq!(configuration.settings.stores_max, 7);
}

#[test]
fn a_file_that_is_no_toml_is_told_line_by_line_without_its_values() {
    let file = "preshared-key = s3cret\nhistory = \"1h\npreshared-key = [\"s3cret\"\n";
    let told = mistakes(file, &[], &[]);
    assert!(told[0].starts_with("server.toml:1:17: this is no TOML"), "{told:?}");
    assert!(told.len() >= 2 && told.iter().all(|mistake| !mistake.contains("s3cret")), "{told:?}");
    let twice = mistakes("history = \"1h\"\nhistory = \"2h\"\n", &[], &[]);
    assert!(twice[0].contains("server.toml:2:1"), "{twice:?}");
}

#[test]
fn keys_are_never_shown() {
    let variables = [("IDHINI_PRESHARED_KEY", "s3cret,s3cret too")];
    let configuration = read("", &variables, &[]).unwrap();
    assert!(print::text(&configuration).contains("(set, 2 keys)"));
    let shown = [print::text(&configuration), print::toml(&configuration), format!("{configuration:?}")];
    assert!(shown.iter().all(|shown| !shown.contains("s3cret")), "{shown:?}");
    for bad in ["s3crét", " s3cret", "s3cret,"] {
        let told = mistakes("", &[("IDHINI_PRESHARED_KEY", bad)], &[]);
        assert!(told.iter().all(|told| !told.contains("s3c")), "{told:?}");
    }
    assert!(mistakes("preshared-key = 5551", &[], &[]).iter().all(|told| !told.contains("555")));
}

#[test]
fn a_printed_file_says_the_same_again() {
    let flags =
        [("history", "7d"), ("waiting-bytes-max", "3MiB"), ("ephemeral", "true"), ("schema", "a \"b\".zed")];
    let configuration = read("updates-max = 7", &[], &flags).unwrap();
    let printed = print::toml(&configuration);
    let again = read(&printed, &[], &[]).unwrap();
    assert_eq!(format!("{:?}", again.settings), format!("{:?}", configuration.settings), "{printed}");
    assert_eq!(*again.origin("cost-max"), Origin::Default);
    // With all comments taken away but those that explain, every default is one that its setting takes.
    let all: String = print::toml(&read("", &[], &[]).unwrap())
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line))
        .filter(|line| !line.ends_with("\"\"") && !line.contains('…') && !line.starts_with("relationships"))
        // To say its default is to insist on it.
        .filter(|line| !line.starts_with("metrics-addr") && !line.starts_with("http-addr"))
        .map(|line| format!("{line}\n"))
        .collect();
    let all = read(&all, &[], &[]).unwrap();
    assert_eq!(format!("{:?}", all.settings), format!("{:?}", Settings::default()));
    assert_ne!(*all.origin("cost-max"), Origin::Default);
}

#[test]
fn each_setting_has_a_name_of_its_own() {
    let names: HashSet<&str> = table::settings().map(|setting| setting.name).collect();
    assert_eq!(names.len(), table::settings().count());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase())));
}

#[test]
fn each_setting_sets_what_it_shows_and_nothing_else() {
    let shown = |settings: &Settings| -> Vec<table::Shown> {
        table::settings().map(|setting| setting.kind.show(settings)).collect()
    };
    let before = shown(&Settings::default());
    for (at, setting) in table::settings().enumerate() {
        let value = match setting.kind {
            table::Kind::Switch { .. } => "true",
            table::Kind::Number { min, .. } if min > 7 => &min.saturating_add(1).to_string(),
            table::Kind::Number { .. } => "7",
            table::Kind::Time { .. } => "7s",
            table::Kind::Path { .. } | table::Kind::Keys { .. } => "seven",
            table::Kind::Text { shape: "IP:PORT", .. } => "127.0.0.1:7",
            table::Kind::Text { shape: "FORMAT", .. } => "json",
            table::Kind::Text { shape: "LEVEL", .. } => "trace",
            table::Kind::Text { shape: "WHEN", .. } => "optional",
            table::Kind::Text { shape: "VERSION", .. } => "1.2",
            table::Kind::Text { shape: "URL", .. } => "http://127.0.0.1:7",
            table::Kind::Text { shape: "COUNT", .. } => "7",
            table::Kind::Text { shape: "ADDRESS", .. } => "tcp:127.0.0.1:7",
            table::Kind::Text { shape: "FILE|syslog:ADDRESS", .. } => "/seven",
            table::Kind::Text { .. } => "0.7",
        };
        let mut settings = Settings::default();
        setting.kind.set(&mut settings, value.as_ref()).unwrap();
        let after = shown(&settings);
        let changed: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(changed, [at], "{}", setting.name);
    }
}

/// The table of the documentation.
fn documented() -> String {
    let mut text = "| setting | variable | unit | default | what it is |\n|---|---|---|---|---|\n".to_owned();
    for setting in table::settings() {
        let default = setting.default().map_or_else(|| "–".to_owned(), |default| format!("`{default}`"));
        let of = match setting.of {
            table::Of::Both => "",
            table::Of::Serve => " (`serve` only)",
            table::Of::ServeTesting => " (`serve-testing` only)",
        };
        text.push_str(&format!(
            "| `{}` | `{}` | {} | {default} | {}{of} |\n",
            setting.name,
            setting.variable(),
            setting.kind.unit(),
            setting.doc
        ));
    }
    text
}

#[test]
fn the_documentation_has_every_setting_as_it_is() {
    let page = include_str!("../../../../docs/configuration.md");
    let expected = documented();
    assert!(page.contains(&expected), "docs/configuration.md should have this table:\n{expected}");
}

#[test]
fn beyond_loopback_a_server_needs_what_tls_is_spoken_with() {
    for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[2001:db8::1]:1"] {
        let told = mistakes("", &[("IDHINI_GRPC_ADDR", address)], &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("IDHINI_GRPC_ADDR: ") && told[0].contains("--tls-cert-file"), "{told:?}");
        assert!(read("", &[], &[("grpc-addr", address), ("tls-ca-dir", "x")]).is_ok());
        let both = [("grpc-addr", address), ("tls-cert-file", "x"), ("tls-key-file", "x")];
        assert!(read("", &[], &both).is_ok());
        let told = mistakes("", &[], &[("http-addr", address)]);
        assert!(told.len() == 1 && told[0].starts_with("--http-addr: "), "{told:?}");
        assert!(read("", &[], &[("http-addr", address), ("tls-ca-dir", "x")]).is_ok());
        let told = mistakes("", &[], &[("metrics-addr", address), ("tls-ca-dir", "x")]);
        assert!(told.len() == 1 && told[0].starts_with("--metrics-addr: "), "{told:?}");
        let told = read_of(Server::ServeTesting, "", &[], &[("grpc-addr", address)]).unwrap_err();
        assert!(told[0].contains("authentication"), "{told:?}");
    }
}

#[test]
fn settings_of_tls_that_do_not_go_together_are_named() {
    let given = "tls-cert-file = \"c\"\ntls-key-file = \"k\"\n";
    let cases = [
        ("tls-cert-file = \"c\"", "set --tls-key-file"),
        ("tls-key-file = \"k\"", "set --tls-cert-file"),
        ("tls-names = \"a.example\"", "set --tls-ca-dir"),
        ("tls-lifetime = \"1h\"", "set --tls-ca-dir"),
        ("tls-ca-dir = \"d\"\ntls-lifetime = \"2s\"", "24h"),
        ("tls-client-ca-file = \"f\"", "or --tls-ca-dir"),
        ("tls-client-auth = \"optional\"", "or --tls-ca-dir"),
        ("tls-peer-pins = \"a\"", "or --tls-ca-dir"),
        ("tls-min-version = \"1.2\"", "or --tls-ca-dir"),
        (&*format!("{given}tls-client-auth = \"optional\""), "set --tls-client-ca-file"),
        (&*format!("{given}tls-peer-pins = \"a\""), "set --tls-client-auth"),
        (&*format!("{given}tls-client-ca-file = \"f\"\ntls-client-auth = \"off\""), "set --tls-client-auth"),
        (&*format!("{given}tls-ca-dir = \"d\""), "leave one of the two out"),
        (&*format!("{given}tls-client-auth = \"maybe\""), "write off, optional or required"),
        (&*format!("{given}tls-min-version = \"1.1\""), "write 1.2 or 1.3"),
        ("tls-ca-dir = \"d\"\ntls-names = \"a.example,*\"", "with commas between"),
    ];
    for (file, remedy) in cases {
        let told = mistakes(file, &[], &[]);
        assert!(told.len() == 1 && told[0].contains(remedy), "{file}: {told:?}");
    }
    let settings = read(&format!("{given}tls-client-ca-file = \"f\""), &[], &[]).unwrap().settings;
    assert_eq!(settings.transport.client_auth(), idhini_server::ClientAuth::Required);
    assert!(
        read("tls-ca-dir = \"d\"\ntls-client-auth = \"optional\"\ntls-peer-pins = \"a\"", &[], &[]).is_ok()
    );
}
