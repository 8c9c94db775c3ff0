//! The cache: what makes a step another one, what does not, and steps that were made elsewhere.

use super::*;

/// A tar of files with times of their own.
fn tar_at(files: &[(&str, &str)], modified: u64) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mtime(modified);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

impl World {
    /// A world whose registry is another one's store.
    fn with_registry(other: &Self) -> Self {
        let world = Self::new();
        world.host.state.lock().unwrap().registry = Some(other.host.images.clone());
        world
    }

    fn taken(&self) -> usize {
        self.host.state.lock().unwrap().taken
    }

    async fn with(&self, request: BuildRequest, dockerfile: &str) -> (ImageId, String) {
        let context = [("Dockerfile", dockerfile), ("a.txt", "a"), ("d/b.txt", "b")];
        let (result, seen) = self.try_build(request, &context).await;
        (result.unwrap().image, seen)
    }
}

fn cached(seen: &str) -> usize {
    seen.matches("Using cache").count()
}

#[tokio::test]
async fn times_of_files_make_no_other_step_and_names_do() {
    let world = World::new();
    let files = |name| [("Dockerfile", "FROM nanoserver\nCOPY d C:/d\n"), (name, "x")];
    let mut images = Vec::new();
    for (name, time) in [("d/a", 1_600_000_000), ("d/a", 1_650_000_000), ("d/A", 1_600_000_000)] {
        let tar = tar_at(&files(name), time);
        let build = Build::prepare(defaults(), &mut &tar[..], world.directory.path()).unwrap();
        let (sender, _lines) = mpsc::channel(LINES);
        images.push(build.run_classic(world.site(), sender).await.unwrap().image);
    }
    assert_eq!(images[0], images[1]);
    assert_ne!(images[0], images[2]);
}

#[tokio::test]
async fn what_a_stage_gives_decides_and_not_what_else_it_did() {
    let world = World::new();
    let dockerfile = |noise: &str, made: &str| {
        format!(
            "FROM nanoserver AS maker\nRUN write C:\\noise {noise}\nRUN write C:\\out\\a {made}\n\
             FROM nanoserver\nCOPY --from=maker C:/out C:/app\n\
             RUN --mount=from=maker,source=C:/out,target=C:/in say used\n"
        )
    };
    let (first, _) = world.build(&dockerfile("1", "same"), &[]).await;
    let (second, seen) = world.build(&dockerfile("2", "same"), &[]).await;
    assert_eq!(first, second);
    assert_eq!(cached(&seen), 2, "{seen}");
    let (third, seen) = world.build(&dockerfile("2", "other"), &[]).await;
    assert!(third != second && cached(&seen) == 1, "{seen}");
    assert_eq!(world.host.steps().len(), 3 + 2 + 2);
}

#[tokio::test]
async fn the_same_files_have_one_name_from_the_context_and_from_a_stage() {
    let world = World::new();
    let last = |image| world.image(image).config.history.pop().unwrap().created_by;
    let (from_context, _) = world.build("FROM nanoserver\nCOPY a C:/\n", &[("a", "x")]).await;
    let stages = "FROM nanoserver AS s\nRUN write C:\\o\\a x\nFROM nanoserver\n\
                  COPY --from=s C:/o/a C:/\n";
    let (from_stage, _) = world.build(stages, &[]).await;
    assert_eq!(from_context, from_stage, "{} {}", last(from_context), last(from_stage));
    assert!(last(from_context).starts_with("cmd /S /C #(nop) COPY file:"));
}

#[tokio::test]
async fn flags_that_change_what_is_written_make_another_step() {
    let world = World::new();
    let mut images = BTreeSet::new();
    for flags in ["", "--chown=ContainerUser ", "--chown=Administrators ", "--unpack=false "] {
        let dockerfile = format!("FROM nanoserver\nADD {flags}a.txt C:/\n");
        let (image, seen) = world.build(&dockerfile, &[("a.txt", "a")]).await;
        assert!(cached(&seen) == 0 && !seen.contains("Warning"), "{seen}");
        images.insert(image.to_string());
    }
    assert_eq!(images.len(), 4);
}

#[tokio::test]
async fn an_image_that_was_removed_is_a_miss() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nRUN write C:\\a a\n";
    let (image, _) = world.build(dockerfile, &[]).await;
    world.host.images.remove(&image.to_string(), true, false, &|_| None).unwrap();
    let (_, seen) = world.build(dockerfile, &[]).await;
    assert_eq!((cached(&seen), world.host.steps().len()), (0, 2), "{seen}");
}

#[tokio::test]
async fn two_builds_of_the_same_do_not_harm_each_other() {
    let world = World::new();
    let dockerfile = "FROM nanoserver\nCOPY a.txt C:/\nRUN write C:\\b b\nENV A=1\n";
    let builds = tokio::join!(
        world.with(BuildRequest { tags: vec!["one".into()], ..defaults() }, dockerfile),
        world.with(BuildRequest { tags: vec!["two".into()], ..defaults() }, dockerfile),
    );
    for ((image, _), tag) in [(builds.0, "one"), (builds.1, "two")] {
        assert_eq!(world.host.images.resolve(tag).unwrap().id, image);
        assert_eq!(world.read(image, r"C:\b").as_deref(), Some("b"));
    }
}

/// Steps of every kind.
const STEPS: &str = "FROM nanoserver\nENV A=1\nWORKDIR /app\nCOPY a.txt .\nRUN write C:\\b.txt b\n\
                     COPY --chown=ContainerUser d C:/d/\nLABEL x=y\nCMD say\n";

fn from(names: &[&str]) -> BuildRequest {
    let cache_from = names.iter().map(|name| (*name).to_owned()).collect();
    BuildRequest { cache_from, ..defaults() }
}

#[tokio::test]
async fn what_was_built_elsewhere_is_taken_from_there_and_nothing_runs() {
    let there = World::new();
    let tags = vec!["reg.test/app:1".into()];
    let (built, _) = there.with(BuildRequest { tags, ..defaults() }, STEPS).await;
    let here = World::with_registry(&there);
    let names = ["reg.test/none:1", "reg.test/app:1"];
    let (image, seen) = here.with(from(&names), STEPS).await;
    assert_eq!((image, cached(&seen)), (built, 7), "{seen}");
    let warning = "[Warning] --cache-from reg.test/none:1 is left out: manifest for";
    assert!(seen.contains(warning), "{seen}");
    assert_eq!((here.host.steps().len(), here.taken()), (0, 4));
    assert_eq!(here.read(image, r"C:\b.txt").as_deref(), Some("b"));
    // Now they are here, and nobody is asked.
    here.host.state.lock().unwrap().registry = None;
    let (again, seen) = here.with(from(&names), STEPS).await;
    assert!(again == image && !seen.contains("--cache-from"), "{seen}");
}

#[tokio::test]
async fn steps_are_taken_as_far_as_they_are_the_same() {
    let there = World::new();
    let tags = vec!["reg.test/app:1".into()];
    there.with(BuildRequest { tags, ..defaults() }, STEPS).await;
    let here = World::with_registry(&there);
    let changed = STEPS.replace("b.txt b", "b.txt changed");
    let (image, seen) = here.with(from(&["reg.test/app:1"]), &changed).await;
    assert_eq!((cached(&seen), here.host.steps().len(), here.taken()), (3, 1, 2), "{seen}");
    assert_eq!(here.read(image, r"C:\b.txt").as_deref(), Some("changed"));
    let (_, seen) =
        here.with(BuildRequest { no_cache: true, ..from(&["reg.test/app:1"]) }, STEPS).await;
    assert_eq!((cached(&seen), here.taken()), (0, 2), "{seen}");
}

#[tokio::test]
async fn an_image_here_gives_its_steps_without_its_parents() {
    let there = World::new();
    let (built, _) = there.with(defaults(), STEPS).await;
    let mut archive = Vec::new();
    there.host.images.save(&[built.to_string()], &mut archive).unwrap();
    let here = World::new();
    here.host.images.load(&mut &archive[..], &mut |_| ()).unwrap();
    here.host.images.tag(&built, &Reference::parse("loaded").unwrap()).unwrap();
    let (image, seen) = here.with(from(&["loaded"]), STEPS).await;
    assert_eq!((image, cached(&seen), here.host.steps().len()), (built, 7, 0), "{seen}");
}

#[tokio::test]
async fn a_layer_that_cannot_be_had_is_a_warning_and_the_step_runs() {
    let there = World::new();
    let tags = vec!["reg.test/app:1".into()];
    let (built, _) = there.with(BuildRequest { tags, ..defaults() }, STEPS).await;
    let top = there.image(built).layers.pop().unwrap().blob;
    let blob = there.directory.path().join("content/blobs/sha256").join(top.hex());
    fs_err::remove_file(blob).unwrap();
    let here = World::with_registry(&there);
    let (_, seen) = here.with(from(&["reg.test/app:1"]), STEPS).await;
    assert!(seen.contains("[Warning] --cache-from reg.test/app:1 has no layer: blob"), "{seen}");
    assert_eq!((cached(&seen), here.host.steps().len()), (4, 0), "{seen}");
}

fn epoch(seconds: &str) -> BuildRequest {
    let build_args = [("SOURCE_DATE_EPOCH".to_owned(), Some(seconds.to_owned()))].into();
    BuildRequest { build_args, ..defaults() }
}

#[tokio::test]
async fn with_an_epoch_two_hosts_build_the_same_image() {
    let dockerfile = "FROM nanoserver\nWORKDIR /app\nCOPY a.txt .\nCOPY d C:/d\nENV A=1\n";
    let (one, two) = (World::new(), World::new());
    let (first, seen) = one.with(epoch("1650000000"), dockerfile).await;
    let (second, _) = two.with(epoch("1650000000"), dockerfile).await;
    assert!(!seen.contains("Warning"), "{seen}");
    let (first, second) = (one.image(first), two.image(second));
    assert_eq!(first.layers, second.layers);
    assert_eq!((first.id, first.manifest), (second.id, second.manifest));
    assert_eq!(first.config.created.as_deref(), Some("2022-04-15T05:20:00Z"));
    let (other, seen) = one.with(epoch("1650000001"), dockerfile).await;
    assert!(other != first.id && cached(&seen) == 0, "{seen}");
    let (same, seen) = one.with(epoch("1650000000"), dockerfile).await;
    assert!(same == first.id && cached(&seen) == 4, "{seen}");
}

#[tokio::test]
async fn an_epoch_that_is_no_time_is_refused_before_anything_is_done() {
    let world = World::new();
    let context = tar_of(&[("Dockerfile", "FROM nanoserver\n")]);
    let prepared = Build::prepare(epoch("soon"), &mut &context[..], world.directory.path());
    assert_eq!(prepared.unwrap_err().class(), Class::Invalid);
}
