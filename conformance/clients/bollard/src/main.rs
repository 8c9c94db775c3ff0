//! bollard, as programs written in Rust use Docker: every answer has a type.

use std::{collections::HashMap, future::Future, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use bollard::{
    Docker, body_full,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, StartExecResults},
    models::{
        ContainerConfig, ContainerCreateBody, ContainerStateStatusEnum, ContainerUpdateBody,
        EndpointSettings, HostConfig, Mount, MountType, NetworkConnectRequest,
        NetworkCreateRequest, NetworkDisconnectRequest, RestartPolicy, RestartPolicyNameEnum,
        VolumeCreateRequest,
    },
    query_parameters::*,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// No step takes longer; one that does hangs.
const STEP_DEADLINE: Duration = Duration::from_secs(90);

/// The daemon and its guests' names and commands.
struct World {
    docker: Docker,
    guest: Value,
}

impl World {
    fn text(&self, key: &str) -> String {
        self.guest[key].as_str().unwrap_or_default().to_owned()
    }

    fn shell(&self, command: &str) -> Vec<String> {
        let words = self.guest["shell"].as_array().into_iter().flatten();
        let words = words.filter_map(|word| word.as_str().map(str::to_owned));
        words.chain([command.to_owned()]).collect()
    }

    fn body(&self, command: &str) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(self.text("image")),
            cmd: Some(self.shell(command)),
            ..ContainerCreateBody::default()
        }
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        Ok(self.docker.create_container(Some(options), body).await?.id)
    }

    async fn idle(&self, name: &str) -> Result<String> {
        let id = self.create(name, self.body(&self.text("idle"))).await?;
        self.docker.start_container(&id, None).await?;
        Ok(id)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        Ok(self.docker.remove_container(id, Some(options)).await?)
    }
}

/// Everything that a container says.
async fn said(mut output: impl Stream<Item = Result<LogOutput, Error>> + Unpin) -> Result<String> {
    let mut text = String::new();
    while let Some(piece) = output.next().await {
        text += &String::from_utf8_lossy(&piece?.into_bytes());
    }
    Ok(text.replace("\r\n", "\n"))
}

/// The status with which a call is refused.
async fn refused<T>(call: impl Future<Output = Result<T, Error>>) -> Option<u16> {
    match call.await {
        Err(Error::DockerResponseServerError { status_code, .. }) => Some(status_code),
        _ => None,
    }
}

fn filter(key: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(key.to_owned(), vec![value.to_owned()])])
}

/// A tar with one file.
fn tar(name: &str, content: &str) -> Vec<u8> {
    let mut head = vec![0; 512];
    let mut put =
        |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0        0");
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend(content.bytes());
    head.resize(head.len().next_multiple_of(512) + 1024, 0);
    head
}

async fn the_daemon_tells_of_itself(world: &World) -> Result<()> {
    let docker = &world.docker;
    ensure!(docker.ping().await? == "OK");
    let info = docker.info().await?;
    ensure!(info.os_type == docker.version().await?.os, "{info:?}");
    docker.df(None::<DataUsageOptions>).await?;
    Ok(())
}

async fn a_container_is_run_and_its_output_read(world: &World) -> Result<()> {
    let docker = &world.docker;
    let id = world.create("bollard-run", world.body(&world.text("twice"))).await?;
    let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true);
    let attached = docker.attach_container(&id, Some(options.build())).await?;
    docker.start_container(&id, None).await?;
    ensure!(said(attached.output).await? == "first\nsecond\n");
    let ended: Vec<_> = docker.wait_container(&id, None).try_collect().await?;
    ensure!(ended[0].status_code == 0, "{ended:?}");
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).tail("1");
    ensure!(said(docker.logs(&id, Some(options.build()))).await? == "second\n");
    world.remove(&id).await
}

async fn input_goes_in(world: &World) -> Result<()> {
    let body = ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        ..world.body(&world.text("echo_input"))
    };
    let id = world.create("bollard-input", body).await?;
    let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true);
    let mut attached = world.docker.attach_container(&id, Some(options.build())).await?;
    world.docker.start_container(&id, None).await?;
    attached.input.write_all(b"typed\n").await?;
    attached.input.shutdown().await?;
    ensure!(said(attached.output).await?.contains("typed"));
    world.remove(&id).await
}

async fn an_exec_has_streams_and_a_status(world: &World) -> Result<()> {
    let docker = &world.docker;
    let id = world.idle("bollard-exec").await?;
    let exec = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(world.shell("exit 7")),
        working_dir: Some(world.text("root")),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(&id, exec).await?.id;
    match docker.start_exec(&exec, None).await? {
        StartExecResults::Attached { output, .. } => ensure!(said(output).await?.is_empty()),
        StartExecResults::Detached => anyhow::bail!("detached"),
    }
    ensure!(docker.inspect_exec(&exec).await?.exit_code == Some(7));
    let exec = CreateExecOptions { cmd: Some(vec!["x"]), ..CreateExecOptions::default() };
    let missing = docker.create_exec("nobody", exec);
    ensure!(refused(missing).await == Some(404));
    world.remove(&id).await
}

async fn a_container_goes_through_its_life(world: &World) -> Result<()> {
    let docker = &world.docker;
    let id = world.idle("bollard-life").await?;
    let state = async || -> Result<_> {
        let seen = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
        seen.state.and_then(|state| state.status).context("no state")
    };
    ensure!(state().await? == ContainerStateStatusEnum::RUNNING);
    docker.pause_container(&id).await?;
    ensure!(state().await? == ContainerStateStatusEnum::PAUSED);
    docker.unpause_container(&id).await?;
    let top = docker.top_processes(&id, None::<TopOptions>).await?;
    ensure!(top.processes.is_some_and(|processes| !processes.is_empty()));
    let renamed = RenameContainerOptionsBuilder::new().name("bollard-renamed").build();
    docker.rename_container(&id, renamed).await?;
    let again = RestartContainerOptionsBuilder::new().t(1).build();
    docker.restart_container(&id, Some(again)).await?;
    let stop = StopContainerOptionsBuilder::new().t(1).build();
    docker.stop_container(&id, Some(stop)).await?;
    ensure!(state().await? == ContainerStateStatusEnum::EXITED);
    docker.start_container(&id, None).await?;
    docker.kill_container(&id, None).await?;
    let ended = docker.wait_container(&id, None).next().await.context("no answer")?;
    // bollard makes an error of every status but 0.
    ensure!(matches!(ended, Err(Error::DockerContainerWaitError { .. })), "{ended:?}");
    ensure!(docker.container_changes(&id).await.is_ok());
    world.remove(&id).await
}

async fn a_restart_policy_is_updated(world: &World) -> Result<()> {
    let id = world.idle("bollard-update").await?;
    let policy = RestartPolicy {
        name: Some(RestartPolicyNameEnum::ON_FAILURE),
        maximum_retry_count: Some(2),
    };
    let update = ContainerUpdateBody { restart_policy: Some(policy.clone()), ..Default::default() };
    world.docker.update_container(&id, update).await?;
    let seen = world.docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
    ensure!(seen.host_config.and_then(|config| config.restart_policy) == Some(policy));
    world.remove(&id).await
}

async fn what_a_container_uses_is_sampled(world: &World) -> Result<()> {
    let id = world.idle("bollard-stats").await?;
    let options = StatsOptionsBuilder::new().stream(false).build();
    let sample = world.docker.stats(&id, Some(options)).next().await.context("no sample")??;
    ensure!(sample.name.is_some_and(|name| name.contains("bollard-stats")));
    world.remove(&id).await
}

async fn files_go_in_and_come_out(world: &World) -> Result<()> {
    let docker = &world.docker;
    let body = ContainerCreateBody {
        working_dir: Some(world.text("folder")),
        ..world.body(&world.text("read"))
    };
    let id = world.create("bollard-files", body).await?;
    docker.start_container(&id, None).await?;
    docker.wait_container(&id, None).for_each(async |_| ()).await;
    let to = UploadToContainerOptionsBuilder::new().path(&world.text("folder")).build();
    let packed = tar("file.txt", "from rust");
    docker.upload_to_container(&id, Some(to), body_full(packed.into())).await?;
    let from = DownloadFromContainerOptionsBuilder::new().path(&world.text("file")).build();
    let pieces: Vec<_> = docker.download_from_container(&id, Some(from)).try_collect().await?;
    ensure!(String::from_utf8_lossy(&pieces.concat()).contains("from rust"));
    let exported: Vec<_> = docker.export_container(&id).try_collect().await?;
    ensure!(!exported.is_empty());
    world.remove(&id).await
}

async fn images_are_built_saved_loaded_and_removed(world: &World) -> Result<()> {
    let docker = &world.docker;
    let options = BuildImageOptionsBuilder::new().t("from-rust:1").rm(true).build();
    let context = tar("Dockerfile", &world.text("dockerfile"));
    let built: Vec<_> =
        docker.build_image(options, None, Some(body_full(context.into()))).try_collect().await?;
    ensure!(built.iter().any(|line| line.aux.is_some()), "{built:?}");
    let image = docker.inspect_image("from-rust:1").await?;
    ensure!(image.os == docker.version().await?.os, "{image:?}");
    ensure!(!docker.image_history("from-rust:1").await?.is_empty());
    let tag = TagImageOptionsBuilder::new().repo("from-rust").tag("2").build();
    docker.tag_image("from-rust:1", Some(tag)).await?;
    let saved: Vec<_> = docker.export_image("from-rust:2").try_collect().await?;
    for name in ["from-rust:1", "from-rust:2"] {
        docker.remove_image(name, None::<RemoveImageOptions>, None).await?;
    }
    let load = ImportImageOptionsBuilder::new().build();
    let body = body_full(saved.concat().into());
    let loaded: Vec<_> = docker.import_image(load, body, None).try_collect().await?;
    ensure!(!loaded.is_empty());
    let listed = ListImagesOptionsBuilder::new().filters(&filter("reference", "from-rust")).build();
    ensure!(docker.list_images(Some(listed)).await?.len() == 1);
    docker.remove_image("from-rust:2", None::<RemoveImageOptions>, None).await?;
    ensure!(refused(docker.inspect_image("nobody")).await == Some(404));
    Ok(())
}

async fn a_container_is_committed(world: &World) -> Result<()> {
    let id = world.create("bollard-commit", world.body("echo committed")).await?;
    let options = CommitContainerOptionsBuilder::new().container(&id).repo("committed-by-rust");
    let made = world.docker.commit_container(options.build(), ContainerConfig::default()).await?;
    ensure!(made.id.starts_with("sha256:"), "{made:?}");
    world.docker.remove_image(&made.id, None::<RemoveImageOptions>, None).await?;
    world.remove(&id).await
}

async fn volumes_and_networks_are_made_and_removed(world: &World) -> Result<()> {
    let docker = &world.docker;
    let name = "from-rust".to_owned();
    let volume = VolumeCreateRequest { name: Some(name.clone()), ..Default::default() };
    ensure!(docker.create_volume(volume).await?.driver == "local");
    let network = NetworkCreateRequest { name: name.clone(), ..Default::default() };
    docker.create_network(network).await?;
    let mount = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.clone()),
        target: Some(world.text("folder")),
        ..Mount::default()
    };
    let host = HostConfig {
        mounts: Some(vec![mount]),
        network_mode: Some(name.clone()),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody { host_config: Some(host), ..world.body(&world.text("idle")) };
    let id = world.create("bollard-net", body).await?;
    docker.start_container(&id, None).await?;
    let leave = NetworkDisconnectRequest { container: id.clone(), ..Default::default() };
    docker.disconnect_network(&name, leave).await?;
    let endpoint = EndpointSettings { aliases: Some(vec!["other".into()]), ..Default::default() };
    let join = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint) };
    docker.connect_network(&name, join).await?;
    let seen = docker.inspect_network(&name, None::<InspectNetworkOptions>).await?;
    ensure!(seen.containers.is_some_and(|members| members.contains_key(&id)));
    ensure!(refused(docker.remove_volume(&name, None::<RemoveVolumeOptions>)).await == Some(409));
    world.remove(&id).await?;
    docker.remove_network(&name).await?;
    docker.remove_volume(&name, None::<RemoveVolumeOptions>).await?;
    ensure!(docker.inspect_volume(&name).await.is_err());
    let listed = ListNetworksOptionsBuilder::new().filters(&filter("name", &name)).build();
    ensure!(docker.list_networks(Some(listed)).await?.is_empty());
    Ok(())
}

async fn events_are_typed(world: &World) -> Result<()> {
    let options = EventsOptionsBuilder::new().filters(&filter("container", "bollard-told")).build();
    let mut events = Box::pin(world.docker.events(Some(options)));
    // The request goes out with the first look at the stream.
    let seen = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
    ensure!(seen.is_err(), "{seen:?}");
    let id = world.create("bollard-told", world.body("exit 0")).await?;
    world.remove(&id).await?;
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != "destroy") {
        let event = events.next().await.context("the events ended")??;
        actions.push(event.action.context("an event without action")?);
    }
    ensure!(actions == ["create", "destroy"], "{actions:?}");
    Ok(())
}

async fn what_is_not_used_is_pruned(world: &World) -> Result<()> {
    let docker = &world.docker;
    let label = HashMap::from([("prune".to_owned(), "rust".to_owned())]);
    let body = ContainerCreateBody { labels: Some(label), ..world.body("exit 0") };
    let id = world.create("bollard-prune", body).await?;
    let mine = filter("label", "prune=rust");
    let options = PruneContainersOptionsBuilder::new().filters(&mine).build();
    let pruned = docker.prune_containers(Some(options)).await?;
    ensure!(pruned.containers_deleted == Some(vec![id]), "{pruned:?}");
    let options = PruneNetworksOptionsBuilder::new().filters(&mine).build();
    docker.prune_networks(Some(options)).await?;
    let options = PruneVolumesOptionsBuilder::new().filters(&mine).build();
    docker.prune_volumes(Some(options)).await?;
    let options = PruneImagesOptionsBuilder::new().filters(&mine).build();
    docker.prune_images(Some(options)).await?;
    Ok(())
}

/// Runs one step and prints its line; tells whether it was good.
async fn step(name: &str, run: impl Future<Output = Result<()>>) -> bool {
    let result = tokio::time::timeout(STEP_DEADLINE, run).await;
    match result.unwrap_or_else(|_| Err(anyhow::anyhow!("it did not end in time"))) {
        Ok(()) => println!("step {name}: ok"),
        Err(error) => {
            println!("step {name}: FAILED {error:#}");
            return false;
        }
    }
    true
}

macro_rules! steps {
    ($world:expr, $($name:ident),* $(,)?) => {{
        let mut good = true;
        $(good &= step(stringify!($name), $name($world)).await;)*
        good
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    println!("version: bollard 0.21.1");
    let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
    let os = docker.version().await?.os.context("the daemon does not say what it runs")?;
    let guests: Value = serde_json::from_str(include_str!("../../guests.json"))?;
    let world = World { docker, guest: guests[os].clone() };
    let good = steps!(
        &world,
        the_daemon_tells_of_itself,
        a_container_is_run_and_its_output_read,
        input_goes_in,
        an_exec_has_streams_and_a_status,
        a_container_goes_through_its_life,
        a_restart_policy_is_updated,
        what_a_container_uses_is_sampled,
        files_go_in_and_come_out,
        images_are_built_saved_loaded_and_removed,
        a_container_is_committed,
        volumes_and_networks_are_made_and_removed,
        events_are_typed,
        what_is_not_used_is_pruned,
    );
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
