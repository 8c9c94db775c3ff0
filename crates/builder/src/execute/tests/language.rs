//! What the language does that only a whole build shows: `ADD` of the web, files that are ignored,
//! checks, arguments of the platform.

use super::*;

const URL: &str = "https://files.example/tools/a%20b.txt?v=1";

impl World {
    /// Puts a file on the web.
    fn serve(&self, url: &str, content: &[u8], fetched: Fetched) {
        let file = (content.to_vec(), fetched);
        self.host.state.lock().unwrap().web.insert(url.to_owned(), file);
    }
}

fn sum(content: &[u8]) -> String {
    oriel_image::Digest::of(content).to_string()
}

#[tokio::test]
async fn a_file_of_the_web_has_its_name_content_and_cache() {
    let world = World::new();
    let dockerfile = format!("FROM nanoserver\nADD {URL} C:/x/\nRUN say after\n");
    world.serve(URL, b"one", Fetched::default());
    let (first, _) = world.build(&dockerfile, &[]).await;
    assert_eq!(world.read(first, r"C:\x\a b.txt").as_deref(), Some("one"));
    let (second, seen) = world.build(&dockerfile, &[]).await;
    assert_eq!((second, seen.matches("Using cache").count()), (first, 2), "{seen}");
    world.serve(URL, b"two", Fetched::default());
    let (third, seen) = world.build(&dockerfile, &[]).await;
    assert!(!seen.contains("Using cache"), "{seen}");
    assert_eq!(world.read(third, r"C:\x\a b.txt").as_deref(), Some("two"));
}

#[tokio::test]
async fn a_file_of_the_web_without_a_name_has_the_servers() {
    let world = World::new();
    let disposition = Some("attachment; filename=\"tool.exe\"".to_owned());
    world.serve("https://h/", b"MZ", Fetched { disposition, ..Fetched::default() });
    world.serve("https://n/", b"MZ", Fetched::default());
    let (image, _) = world.build("FROM nanoserver\nADD https://h/ C:/x/\n", &[]).await;
    assert_eq!(world.read(image, r"C:\x\tool.exe").as_deref(), Some("MZ"));
    let (error, _) = world.fail("FROM nanoserver\nADD https://n/ C:/x/\n").await;
    let text = error.to_string();
    assert!(text.contains("ADD failed: cannot determine filename for url: https://n/"), "{text}");
}

#[tokio::test]
async fn an_archive_of_the_web_is_unpacked_only_when_asked_for() {
    let world = World::new();
    let archive = tar_of(&[("inner.txt", "x")]);
    world.serve("https://h/a.tar", &archive, Fetched::default());
    let context = [("local.tar", std::str::from_utf8(&archive).unwrap())];
    let add = |flag: &str| {
        format!("FROM nanoserver\nADD {flag} local.tar https://h/a.tar C:/x/\nRUN say {flag}.\n")
    };
    for (flag, inner, whole) in [("", true, true), ("--unpack", true, false)] {
        let (image, _) = world.build(&add(flag), &context).await;
        assert_eq!(world.read(image, r"C:\x\inner.txt").is_some(), inner, "{flag}");
        assert_eq!(world.read(image, r"C:\x\a.tar").is_some(), whole, "{flag}");
    }
    let (image, _) = world.build(&add("--unpack=false"), &context).await;
    assert!(world.read(image, r"C:\x\inner.txt").is_none());
    assert!(world.read(image, r"C:\x\local.tar").is_some());
    let history = world.image(image).config.history;
    let told: usize = history.iter().map(|h| h.created_by.matches("--unpack=false ").count()).sum();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn checksums_are_of_one_file_of_the_web() {
    let world = World::new();
    world.serve(URL, b"one", Fetched::default());
    let good = sum(b"one");
    let dockerfile = format!("FROM nanoserver\nARG S={good}\nADD --checksum=$S {URL} C:/x.txt\n");
    let (image, _) = world.build(&dockerfile, &[]).await;
    assert_eq!(world.read(image, r"C:\x.txt").as_deref(), Some("one"));
    let table = [
        (format!("--checksum={} {URL} C:/x", sum(b"two")), "digest mismatch for https://files"),
        (format!("--checksum=md5:1 {URL} C:/x"), "on line 2: invalid checksum \"md5:1\": write"),
        (format!("--checksum={good} {URL} a C:/x/"), "checksum can't be specified for multiple"),
        (format!("--checksum={good} a C:/x"), "checksum requires HTTP(S) sources"),
    ];
    for (rest, expected) in table {
        let (error, _) = world.fail(&format!("FROM nanoserver\nADD {rest}\n")).await;
        let text = error.to_string();
        assert!(text.contains(expected), "{rest}: {text}");
    }
}

#[tokio::test]
async fn sources_that_cannot_be_had_are_told_with_their_place() {
    let world = World::new();
    let table = [
        ("ADD https://h/x.git#main C:/x", "on line 2: https://h/x.git#main is a Git repository"),
        ("ADD --keep-git-dir=true git@h:x.git C:/x", "is a Git repository"),
        ("ADD https://h/none C:/x", "GET \"https://h/none\" was answered with 404 Not Found"),
        ("COPY https://h/x C:/x", "source can't be a URL for COPY: https://h/x; ADD fetches"),
        ("COPY --from=later a C:/x", "pull access denied for later"),
    ];
    for (instruction, expected) in table {
        let (error, _) = world.fail(&format!("FROM nanoserver\n{instruction}\n")).await;
        let text = error.to_string();
        assert!(text.contains(expected), "{instruction}: {text}");
    }
}

#[tokio::test]
async fn a_dockerfiles_own_ignore_file_wins() {
    let world = World::new();
    let context = [
        ("docker/app", "FROM nanoserver\nCOPY . C:/x\n"),
        ("docker/app.dockerignore", "*.log\ndocker"),
        (".dockerignore", "*.txt"),
        ("a.txt", "a"),
        ("a.log", "a"),
    ];
    let request = BuildRequest { dockerfile: "docker/app".into(), ..defaults() };
    let (result, _) = world.try_build(request, &context).await;
    let image = result.unwrap().image;
    assert!(world.read(image, r"C:\x\a.txt").is_some());
    assert!(world.read(image, r"C:\x\a.log").is_none());
    let bad = [("Dockerfile", "FROM nanoserver"), ("Dockerfile.dockerignore", "a\n[")];
    let error = Build::prepare(defaults(), &mut &tar_of(&bad)[..], world.directory.path());
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "Dockerfile.dockerignore line 2: \"[\" is not a pattern");
}

#[tokio::test]
async fn findings_are_told_at_the_end_and_fail_where_asked_for() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nMAINTAINER Ann\n";
    let (_, seen) = world.build(dockerfile, &[]).await;
    let text = "[Warning] MaintainerDeprecated: Maintainer instruction is deprecated in favor of \
                using label (line 2)\n";
    let end = seen.find("Successfully built").unwrap();
    assert!(seen.find(text).is_some_and(|at| at < end), "{seen}");
    let quiet = BuildRequest { quiet: true, ..defaults() };
    let (_, seen) = world.try_build(quiet, &[("Dockerfile", dockerfile)]).await;
    assert!(seen.starts_with("sha256:"), "{seen}");
    let (error, _) = world.fail(&format!("# check=error=true\n{dockerfile}")).await;
    assert_eq!(error.to_string(), "lint violation found for rules: MaintainerDeprecated");
    let many = "MAINTAINER Ann\n".repeat(9);
    let (_, seen) = world.build(&format!("FROM nanoserver\n{many}"), &[]).await;
    assert_eq!(seen.matches("MaintainerDeprecated").count(), 5, "{seen}");
    assert!(seen.contains("[Warning] … and 4 more, which a check of the build shows"), "{seen}");
}

#[tokio::test]
async fn a_remote_dockerfile_needs_no_context() {
    let world = World::new();
    let request = BuildRequest { dockerfile: "elsewhere".into(), ..defaults() };
    let text = b"FROM nanoserver\nLABEL a=b\n";
    let build = Build::prepare_remote(request, &mut &text[..], world.directory.path()).unwrap();
    let (sender, _events) = mpsc::channel(LINES);
    let built = build.run(world.site(), sender).await.unwrap();
    assert_eq!(world.image(built.image).config.config.labels["a"], "b");
    let archive = tar_of(&[("elsewhere", "FROM nanoserver\nCOPY x C:/x\n"), ("x", "x")]);
    let request = BuildRequest { dockerfile: "elsewhere".into(), ..defaults() };
    assert!(Build::prepare_remote(request, &mut &archive[..], world.directory.path()).is_ok());
    let endless = &mut std::io::repeat(b'#');
    let error = Build::prepare_remote(defaults(), endless, world.directory.path()).unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile is longer than 4194304 bytes");
}

#[tokio::test]
async fn arguments_of_the_platform_are_there_when_declared() {
    let world = World::new();
    let dockerfile = "FROM --platform=$BUILDPLATFORM nanoserver\nARG TARGETARCH TARGETOS=x\n\
                      ARG BUILDPLATFORM\nARG TARGETVARIANT\n\
                      LABEL a=$TARGETARCH-$TARGETOS-$BUILDPLATFORM-$TARGETVARIANT-\
                      $TARGETPLATFORM\n";
    let (image, _) = world.build(dockerfile, &[]).await;
    let labels = world.image(image).config.config.labels;
    assert_eq!(labels["a"], "amd64-x-windows/amd64--");
}

#[tokio::test]
async fn names_that_windows_does_not_have_are_refused_when_copied() {
    let world = World::new();
    for (name, shown) in
        [("NUL", "NUL"), ("aux.c", "aux.c"), ("a:b", "a:b"), ("dir/con.txt", "con.txt")]
    {
        let context = [("Dockerfile", "FROM nanoserver\nCOPY . C:/x/\n"), (name, "x")];
        let (result, _) = world.try_build(defaults(), &context).await;
        let text = result.unwrap_err().to_string();
        let expected = format!("COPY failed: {shown:?} is not a file name on Windows");
        assert!(text.contains(&expected), "{name}: {text}");
    }
}

#[tokio::test]
async fn of_names_that_differ_in_case_the_last_is_kept() {
    let world = World::new();
    let files = [("d/A.txt", "upper"), ("d/a.txt", "lower"), ("D/b.txt", "b")];
    let (image, _) = world.build("FROM nanoserver\nCOPY . C:/x/\n", &files).await;
    assert_eq!(world.read(image, r"C:\x\d\A.TXT").as_deref(), Some("lower"));
    assert_eq!(world.read(image, r"C:\x\d\b.txt").as_deref(), Some("b"));
}

#[tokio::test]
async fn links_that_lead_out_of_the_context_lead_nowhere() {
    let world = World::new();
    let mut builder = tar::Builder::new(Vec::new());
    let file = b"FROM nanoserver\nARG F\nCOPY $F C:/x\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(file.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "Dockerfile", &file[..]).unwrap();
    for (name, target) in [("abs", "/etc/passwd"), ("up", "../../../etc/passwd"), ("loop", "loop")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    for name in ["abs", "up", "loop"] {
        let build_args = [("F".to_owned(), Some(name.to_owned()))].into();
        let request = BuildRequest { build_args, ..defaults() };
        let scratch = world.directory.path();
        let build = Build::prepare(request, &mut &archive[..], scratch).unwrap();
        let (sender, _lines) = mpsc::channel(LINES);
        let text = world.running(build, sender).await.unwrap_err().to_string();
        let expected = format!(
            "file not found in build context or excluded by .dockerignore: \
                                stat {name}: file does not exist"
        );
        assert!(text.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn ports_are_those_of_the_container_and_not_endless() {
    let world = World::new();
    let (image, _) = world.build("FROM nanoserver\nEXPOSE 8080:80 53/UDP 9-10/tcp\n", &[]).await;
    let ports: Vec<_> = world.image(image).config.config.exposed_ports.into_keys().collect();
    assert_eq!(ports, ["10/tcp", "53/udp", "80/tcp", "9/tcp"]);
    let (error, _) = world.fail("FROM nanoserver\nEXPOSE 1-65535 1-65535/udp\n").await;
    let text = error.to_string();
    assert!(text.contains("line 2: EXPOSE names more than 65536 ports"), "{text}");
    let (error, _) = world.fail("FROM nanoserver\nEXPOSE 0\n").await;
    assert!(error.to_string().contains("line 2: invalid containerPort: 0"), "{error}");
}
