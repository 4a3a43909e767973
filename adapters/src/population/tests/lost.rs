//! A replica whose connections die without a word: behind a relay that goes on holding them and carries nothing any more.

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::*;

/// How long a question waits whose own time is over before anything else is.
const SOON: Duration = Duration::from_millis(300);

/// Stands where the database's socket would be.
struct Relay {
    folder: tempfile::TempDir,
    mute: watch::Sender<()>,
    accepted: Arc<Mutex<usize>>,
}

impl Relay {
    fn start(province: &Province) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let server = province.0.socket().join(format!(".s.PGSQL.{}", province.0.port()));
        let (mute, accepted) = (watch::Sender::new(()), Arc::<Mutex<usize>>::default());
        let (muted, count) = (mute.clone(), accepted.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (server, mut muted) = (server.clone(), muted.subscribe());
                tokio::spawn(async move {
                    let mut to = UnixStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        // Neither end hears that it is over.
                        _ = muted.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { folder, mute, accepted }
    }

    /// From now on nothing comes or goes over the connections that there are; new ones are as ever.
    fn forget_all(&self) {
        self.mute.send(()).unwrap();
    }

    fn accepted(&self) -> usize {
        *self.accepted.lock().unwrap()
    }

    fn serving(&self, province: &Province, connections: usize, timeout: Duration) -> Serving {
        let (host, connections) = (self.folder.path().display().to_string(), connections.try_into().unwrap());
        let config = ReplicaConfig { host, port: 5432, connections, timeout, ..province.config() };
        serving(&population(PopulationBackend::Replica(config))).unwrap()
    }
}

async fn look(serving: &Serving) -> Result<Value, ServiceRefusal> {
    told(serving, "dan-cu-tra-cuu", &question(&["sex"], &of_a_man())).await
}

/// A question that is dropped when its time is over, as whoever asks does it.
async fn look_soon(serving: &Serving) -> bool {
    tokio::time::timeout(SOON, look(serving)).await.is_ok()
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_costs_one_question() {
    let province = Province::start();
    let relay = Relay::start(&province);
    let serving = relay.serving(&province, 2, Duration::from_secs(600));
    assert!(look(&serving).await.is_ok());
    relay.forget_all();
    assert!(!look_soon(&serving).await, "nothing can have come back");
    assert_eq!(look(&serving).await, Ok(json!({ "sex": "male" })));
    assert!(look(&serving).await.is_ok() && relay.accepted() == 2, "{}", relay.accepted());
}

#[tokio::test]
async fn a_statement_that_nobody_answers_ends_by_the_connectors_own_clock() {
    let province = Province::start();
    let relay = Relay::start(&province);
    let serving = relay.serving(&province, 1, Duration::from_secs(4));
    assert!(look(&serving).await.is_ok());
    relay.forget_all();
    assert_eq!(look(&serving).await, Err(ServiceRefusal::Failed));
    assert!(look(&serving).await.is_ok());
}

#[tokio::test]
async fn a_database_that_is_only_slow_is_not_flooded_with_connections() {
    let province = Province::start();
    let serving = Arc::new(province.serving());
    assert!(look(&serving).await.is_ok());
    let mut slow = tokio_postgres::Config::new();
    slow.host_path(province.0.socket()).port(province.0.port()).user(postgres::OWNER).dbname(postgres::OWNER);
    let (slow, connection) = slow.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    slow.batch_execute("BEGIN; LOCK TABLE dan_cu.citizen IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..6 {
        assert!(!look_soon(&serving).await, "it is locked");
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lgsp population connector'";
    let open: usize = province.0.sql(open).parse().unwrap();
    assert!(open <= 4, "{open} connections for two");
    slow.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(look(&serving).await, Ok(json!({ "sex": "male" })));
}
