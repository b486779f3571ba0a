//! Cost of an exposition as ratios within one run: to the encoder of the `prometheus` crate for the same series, to
//! rendering from scratch, and to copying memory. Fails if a performance goal is missed.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::{
    env, error::Error, fs, hint::black_box, process::Command, process::ExitCode, sync::Arc, time::Duration,
};

use alikafka_exporter::{
    exposition::{Exposition, Renderer},
    lag::{
        GroupLag, PartitionLag, RetentionMargin, TopicLag,
        assess::{GroupAssessment, PartitionAssessment, TopicAssessment},
        bounds::TimeBounds,
        status::{Status, StatusRule},
    },
    model::{
        GroupId, GroupState, InstanceId, Offset, Partition, RegionId, RenderOptions, TopicName, UnixMillis,
    },
    snapshot::{GroupView, InstanceView, LastSuccess, ObjectCounts, Rebalances, RegionView, Snapshot},
};
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};
use tokio::time::Instant;

/// Size of the fleet, about 100000 series. 12 is the default number of partitions of a topic.
const INSTANCES: u32 = 20;
const GROUPS: u32 = 13;
const TOPICS: u32 = 4;
const PARTITIONS: u32 = 12;
/// Upper bound of the random numbers that a fleet needs.
const NUMBERS: u32 = INSTANCES * GROUPS * TOPICS * PARTITIONS * 16;
const ROUNDS: u32 = 9;
const HOLD: &str = "--hold";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<ExitCode> {
    if env::args().any(|a| a == HOLD) {
        return hold();
    }
    let mut times = Times::default();
    let first = fleet(0)?;
    let second = one_changed(&first)?;
    let rebuilt = fleet(0)?;
    let registry = gauges(&Renderer::new(RenderOptions::default()).render_uncompressed(&first))?;
    for _ in 0..ROUNDS {
        times.encoder.push(time(|| TextEncoder::new().encode_to_string(&registry.gather())));
        times.plain.push(time(|| Renderer::new(RenderOptions::default()).render_uncompressed(&first)));
        times.packed.push(time(|| Renderer::new(RenderOptions::default()).render(&first)));
        let mut renderer = Renderer::new(RenderOptions::default());
        let exposition = renderer.render(&first);
        times.one_changed.push(time(|| renderer.render(&second)));
        black_box(renderer.render(&first));
        times.unchanged.push(time(|| renderer.render(&first)));
        times.rebuilt.push(time(|| renderer.render(&rebuilt)));
        times
            .scrape
            .push(time(|| exposition.with_appended_text("self 1\n").plain_chunks().collect::<Vec<_>>()));
        times
            .scrape_gzip
            .push(time(|| exposition.with_appended_text("self 1\n").gzip_chunks().collect::<Vec<_>>()));
        let text: Vec<u8> = exposition.plain_chunks().flatten().collect();
        times.copy.push(time(|| text.clone()));
        let gzip: usize = exposition.gzip_chunks().map(|b| b.len()).sum();
        if times.copy.len() == 1 {
            println!(
                "{} series, {} bytes plain, {gzip} bytes gzip, {} pieces",
                exposition.series_count(),
                exposition.plain_len(),
                exposition.plain_chunks().count()
            );
        }
    }
    let complete_text = Renderer::new(RenderOptions::default()).render(&first);
    println!("one-shot gzip level 1 of the same text: {} bytes", one_shot(&complete_text)?);
    let rss = held_memory()?;
    Ok(times.report(rss))
}

#[derive(Default)]
struct Times {
    encoder: Vec<Duration>,
    plain: Vec<Duration>,
    packed: Vec<Duration>,
    one_changed: Vec<Duration>,
    unchanged: Vec<Duration>,
    rebuilt: Vec<Duration>,
    scrape: Vec<Duration>,
    scrape_gzip: Vec<Duration>,
    copy: Vec<Duration>,
}

impl Times {
    fn report(&mut self, rss_kib: u64) -> ExitCode {
        let encoder = median(&mut self.encoder);
        let plain = median(&mut self.plain);
        let packed = median(&mut self.packed);
        let one_changed = median(&mut self.one_changed);
        let unchanged = median(&mut self.unchanged);
        let rebuilt = median(&mut self.rebuilt);
        let scrape = median(&mut self.scrape);
        let scrape_gzip = median(&mut self.scrape_gzip);
        let copy = median(&mut self.copy);
        for (what, took) in [
            ("prometheus TextEncoder", encoder),
            ("render, plain", plain),
            ("render, plain and gzip", packed),
            ("render, 1 of 20 instances changed", one_changed),
            ("render, nothing changed", unchanged),
            ("render, same values in new memory", rebuilt),
            ("scrape, plain", scrape),
            ("scrape, gzip", scrape_gzip),
            ("copy of the plain text", copy),
        ] {
            println!(
                "{what:<36} {:>10.3} ms   encoder / this {:>9.1}",
                took.as_secs_f64() * 1e3,
                ratio(encoder, took)
            );
        }
        println!("memory of snapshot, exposition and gzip: {} MiB", rss_kib / 1024);
        let bounds = [
            ("plain render is 30 times faster than the encoder", ratio(encoder, plain) >= 30.0),
            ("one instance of 20 costs at most a fifth of all", ratio(packed, one_changed) >= 5.0),
            ("a plain scrape costs at most a copy", scrape <= copy),
            ("a gzip scrape costs at most a copy", scrape_gzip <= copy),
            ("memory stays below 150 MiB", rss_kib < 150 * 1024),
        ];
        let mut code = ExitCode::SUCCESS;
        for (bound, holds) in bounds {
            println!("{} {bound}", if holds { "ok    " } else { "BROKEN" });
            if !holds {
                code = ExitCode::FAILURE;
            }
        }
        code
    }
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64().max(1e-9)
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let made = black_box(work());
    let took = start.elapsed();
    drop(made);
    took
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Returns a value that compresses as badly as an offset.
fn noise(seed: u32) -> u64 {
    u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// Source of distinct numbers for a fleet.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        noise(self.0)
    }

    fn offset(&mut self) -> Option<Offset> {
        Offset::new(i64::try_from(self.next()).ok()?)
    }

    /// Returns a time within a few hours before a fixed one.
    fn time(&mut self) -> Option<UnixMillis> {
        UnixMillis::new(1_700_000_000_000 - i64::try_from(self.next()).ok()?)
    }

    fn age(&mut self) -> TimeBounds {
        let lower = self.next();
        TimeBounds { lower: Some(lower), upper: Some(lower + 60_000) }
    }

    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    fn rate(&mut self) -> f64 {
        self.next() as f64 / 60.0
    }

    fn partition(&mut self, number: u32) -> (PartitionLag, PartitionAssessment) {
        let lag = PartitionLag {
            end: None,
            partition: Partition(number),
            committed: self.offset(),
            messages: Some(self.next()),
            last_consumed: self.time(),
        };
        let retention = Some(RetentionMargin { margin: Some(self.next()), lost: 0 });
        (lag, PartitionAssessment { bounds: self.age(), rule: StatusRule::TooFewPolls, retention })
    }

    fn topic(&mut self, number: u32) -> Result<(TopicLag, TopicAssessment)> {
        let (rows, assessments) = (0..PARTITIONS).map(|p| self.partition(p)).unzip();
        let topic = TopicName::new(&format!("orders-created-{number:03}"))?;
        let assessment = TopicAssessment {
            bounds: self.age(),
            status: Some(Status::Ok),
            consumable: Some(self.next()),
            consumed: Some(self.rate()),
            produced: Some(self.rate()),
            catch_up: Some(self.rate()),
            data_loss_eta: None,
            partitions: assessments,
        };
        Ok((TopicLag { topic, messages: Some(self.next()), partitions: rows }, assessment))
    }

    fn group(&mut self, number: u32) -> Result<GroupView> {
        let topics: Result<Vec<_>> = (0..TOPICS).map(|t| self.topic(t)).collect();
        let (lags, assessments) = topics?.into_iter().unzip();
        let assessment = GroupAssessment {
            bounds: self.age(),
            status: Some(Status::Ok),
            consumable: Some(self.next()),
            catch_up: Some(self.rate()),
            topics: assessments,
        };
        Ok(GroupView {
            id: GroupId::new(&format!("billing-service-{number:03}"))?,
            discovery_order: u64::from(number),
            listed: true,
            lag: Some(Arc::new(GroupLag { messages: Some(self.next()), topics: lags })),
            assessment: Some(Arc::new(assessment)),
            state: Some(GroupState::Stable),
            rebalances: self.time().map(|last| Rebalances { seen: 3, last }),
        })
    }
}

fn instance(number: u32, seed: u32) -> Result<InstanceView> {
    let mut noise = Noise(seed + number * (NUMBERS / INSTANCES));
    let groups: Result<Vec<_>> = (0..GROUPS).map(|g| noise.group(g).map(Arc::new)).collect();
    Ok(InstanceView {
        account: None,
        region: RegionId::new("cn-hangzhou")?,
        id: InstanceId::new(&format!("alikafka_post-cn-{number:010}"))?,
        discovery_order: u64::from(number),
        info: None,
        up: Some(true),
        last_success: LastSuccess::default(),
        topics: Vec::new(),
        groups: groups?,
    })
}

fn fleet(seed: u32) -> Result<Snapshot> {
    let instances: Result<Vec<_>> = (0..INSTANCES).map(|i| instance(i, seed).map(Arc::new)).collect();
    Ok(Snapshot { regions: vec![Arc::new(region(instances?)?)] })
}

fn region(instances: Vec<Arc<InstanceView>>) -> Result<RegionView> {
    Ok(RegionView {
        account: None,
        region: RegionId::new("cn-hangzhou")?,
        up: Some(true),
        first_pass_ended: true,
        last_success: LastSuccess::default(),
        objects: ObjectCounts::default(),
        instances,
    })
}

fn one_changed(before: &Snapshot) -> Result<Snapshot> {
    let mut instances: Vec<_> = before.regions.iter().flat_map(|r| r.instances.clone()).collect();
    if let Some(middle) = instances.get_mut(INSTANCES as usize / 2) {
        *middle = Arc::new(instance(INSTANCES / 2, NUMBERS)?);
    }
    Ok(Snapshot { regions: vec![Arc::new(region(instances)?)] })
}

/// Returns the same series as metrics of the `prometheus` crate.
fn gauges(exposition: &Exposition) -> Result<Registry> {
    let registry = Registry::new();
    let text = String::from_utf8(exposition.plain_chunks().flatten().collect())?;
    let mut family: Option<(&str, GaugeVec)> = None;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (name, rest) = line.split_once('{').ok_or("a series without labels")?;
        let (labels, value) = rest.rsplit_once("} ").ok_or("a series without a value")?;
        // No label of this exposition has escapes or commas.
        let (names, values): (Vec<_>, Vec<_>) = labels
            .split(',')
            .filter_map(|l| l.split_once('='))
            .map(|(n, v)| (n, v.trim_matches('"')))
            .unzip();
        let vec = match &family {
            Some((of, vec)) if *of == name => vec,
            _ => {
                let vec = GaugeVec::new(Opts::new(name, "Messages left to read."), &names)?;
                registry.register(Box::new(vec.clone()))?;
                &family.insert((name, vec)).1
            }
        };
        vec.get_metric_with_label_values(&values)?.set(value.parse()?);
    }
    Ok(registry)
}

fn one_shot(exposition: &Exposition) -> Result<usize> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    for piece in exposition.plain_chunks() {
        gzip.write_all(&piece)?;
    }
    Ok(gzip.finish()?.len())
}

/// Runs this program again, so that only the exposition is in memory.
fn held_memory() -> Result<u64> {
    let out = Command::new(env::current_exe()?).arg(HOLD).output()?;
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}

fn hold() -> Result<ExitCode> {
    let mut renderer = Renderer::new(RenderOptions::default());
    let mut exposition = renderer.render(&fleet(0)?);
    // A second and third generation, as in the exporter: the old exposition is dropped when the new one exists.
    for generation in 1..3 {
        exposition = renderer.render(&fleet(generation)?);
    }
    let gzip: usize = exposition.gzip_chunks().map(|b| b.len()).sum();
    let status = fs::read_to_string("/proc/self/status")?;
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    println!("{}", rss.trim().trim_end_matches(" kB"));
    black_box((renderer, exposition, gzip));
    Ok(ExitCode::SUCCESS)
}
