//! `lgsp restore`: makes a gateway's folders from a backup, as a new epoch of its books.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use lgsp_gateway::backup::{BeginError, Ordered, RestoreError, Restored, restore};
use lgsp_gateway::config::Config;
use lgsp_proto::types::{ActorId, PartyId};
use serde_json::{Value, json};

use crate::backup::{Watch, manifest_json, manifest_table};
use crate::failure::{Failure, NO_ANSWER, REFUSED, because};
use crate::lang::Lang;
use crate::node::environment;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  lgsp restore --from /mnt/backup/lgsp --config gateway.toml --actor van.hanh.1

Restores into empty folders only, whole or not at all: until it has come to its end no gateway starts on them, and it can be run
again. The node's key must be where the configuration says, or in the backup.

What was admitted after the backup is not in it. The restored books begin a new epoch, and the adapters send again what they have
receipts for: each dossier gets the code it had. Numbers that may have been given out meanwhile are not given out again, and
numbers leased to desks before are void. Which epochs were begun from a backup is noted in its folder, so that another restore of
it goes further. To try a restore, use a copy of the folder. Take a new backup as soon as the gateway runs.

Of restores from other folders a backup knows nothing: if there was one after it was taken, say --numbers-from, beyond what that
restore printed.

A receipt counts by the certificate of the gateway that signed it. One that came into force after the backup and is gone is not in
the books: give it with --own-certificate (the CA that issued it has it in issued/), or what it signed is refused for good.

Ends with 0 when the gateway may be started, 3 when the restored books have problems, 4 when nothing was restored.";

/// Restore a gateway from a backup.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// The folder of the backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Configuration file of the gateway to be restored.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Who restores, for the record.
    #[arg(long, value_name = "NAME")]
    actor: ActorId,
    /// Where the numbers of the days concerned go on, when it is known that more were given out than the books show.
    #[arg(long, value_name = "N")]
    numbers_from: Option<u32>,
    /// The number of the new epoch, when the clock of this machine cannot be relied upon: greater than any that adapters have seen.
    #[arg(long, value_name = "N")]
    epoch: Option<u32>,
    /// A certificate of the gateway's own that came into force after the backup, PEM or DER; as often as there are such.
    #[arg(long, value_name = "FILE")]
    own_certificate: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let Self { from, config, actor, numbers_from, epoch, own_certificate: own_certificates, output } = self;
        let config = Config::load(&config, environment()).map_err(|problems| Failure::usage(problems.to_string()))?;
        let (watch, began) = (Watch::new(lang), SystemTime::now());
        let ordered = Ordered { from, actor, numbers_from, epoch, own_certificates, now: began };
        let restored = restore(&ordered, &config, &|progress| watch.tell(progress));
        watch.end();
        match restored {
            Ok(restored) => {
                if let Some(warning) = clock_warning(restored.manifest.taken_at, began, lang) {
                    eprintln!("{warning}");
                }
                output.print(|| restored_json(&restored), || restored_text(&restored, lang))?;
                Ok(if restored.report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
            }
            Err(
                error @ (RestoreError::NotEmpty { .. }
                | RestoreError::OtherDocuments { .. }
                | RestoreError::NoNodeKey { .. }
                | RestoreError::NoNote { .. }
                | RestoreError::OwnCertificate { .. }
                | RestoreError::Epoch(BeginError::NoEpoch { .. } | BeginError::NoNumbers { .. })),
            ) => Err(Failure::usage(because(&error) + what_to_do(&error, lang))),
            Err(error) => {
                eprintln!("{}: {}", lang.pick("Chưa khôi phục được", "Nothing was restored"), because(&error));
                Ok(ExitCode::from(NO_ANSWER))
            }
        }
    }
}

/// A clock that is before the backup shows too few days on which numbers may have been given out, and may begin an epoch that
/// adapters do not believe.
fn clock_warning(taken_at: SystemTime, now: SystemTime, lang: Lang) -> Option<&'static str> {
    let warning = lang.pick(
        "Cảnh báo: đồng hồ máy này sớm hơn lúc sao lưu. Kỷ nguyên và các ngày có số có thể đã cấp được tính theo đồng hồ; trước khi\n\
         khởi động trục, hãy chỉnh đồng hồ, chuyển các thư mục đi và khôi phục lại, hoặc nêu --epoch.",
        "Warning: this machine's clock is before the time of the backup. The epoch and the days on which numbers may have been given\n\
         out go by the clock; before the gateway is started set it, move the folders away and restore again, or give --epoch.",
    );
    (now < taken_at).then_some(warning)
}

fn what_to_do(error: &RestoreError, lang: Lang) -> &'static str {
    match error {
        RestoreError::NotEmpty { .. } => lang.pick(
            "\n  Chuyển thư mục đi nơi khác; khôi phục không ghi đè lên gì cả.",
            "\n  Move the folder away; a restore overwrites nothing.",
        ),
        RestoreError::OtherDocuments { .. } => lang.pick(
            "\n  Chạy lại với documents.dir ấy, hoặc chuyển cả hai thư mục đi nơi khác rồi khôi phục từ đầu.",
            "\n  Run it again with that documents.dir, or move both folders away and restore anew.",
        ),
        RestoreError::NoNodeKey { .. } => lang.pick(
            "\n  Đặt bản lưu của khoá vào đó (store.node_key).",
            "\n  Put the copy of the key there (store.node_key).",
        ),
        RestoreError::NoNote { .. } => lang.pick(
            "\n  Tệp này ghi những lần khôi phục từ bản sao lưu, để không số nào được cấp lại. Cho phép ghi vào thư mục đó, hoặc nêu\n  \
             --numbers-from lớn hơn mọi số đã cấp, kể cả sau các lần khôi phục trước.",
            "\n  It notes the restores of this backup, so that no number is given out again. Let the folder be written, or give a\n  \
             --numbers-from above every number given out, after earlier restores too.",
        ),
        RestoreError::OwnCertificate { .. } => lang.pick(
            "\n  Chỉ nêu chứng thư của chính cổng (--own-certificate), có trong issued/ của CA đã cấp.",
            "\n  Give certificates of the gateway itself only (--own-certificate); the CA that issued them has them in issued/.",
        ),
        RestoreError::Epoch(BeginError::NoEpoch { .. }) => {
            lang.pick("\n  Nêu --epoch lớn hơn, hoặc bỏ tham số này.", "\n  Give a greater --epoch, or none.")
        }
        _ => {
            lang.pick("\n  Nêu --numbers-from lớn hơn số đã biết.", "\n  Give a --numbers-from above the number known.")
        }
    }
}

fn restored_json(restored: &Restored) -> Value {
    let Restored { manifest, epoch, systems, without_numbers, report } = restored;
    json!({
        "backup": manifest_json(manifest),
        "epoch": epoch.number,
        "numbers_from": epoch.lost.from,
        "numbers_from_day": epoch.lost.days.start().to_string(),
        "numbers_to_day": epoch.lost.days.end().to_string(),
        "systems": systems,
        "without_numbers": without_numbers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sound": report.is_sound(),
        "problems": report.problems.len() as u64 + report.more,
    })
}

fn restored_text(restored: &Restored, lang: Lang) -> String {
    let Restored { manifest, epoch, systems, without_numbers, report } = restored;
    let table = manifest_table(manifest, lang);
    let (number, from, days) = (epoch.number, epoch.lost.from, &epoch.lost.days);
    let begun = lang.pick(
        format!("Sổ bắt đầu kỷ nguyên {number}. Từ {} đến {} số hồ sơ đi tiếp từ {from}; các khối số đã cấp trước đây vô hiệu.\n", days.start(), days.end()),
        format!("The books begin epoch {number}. From {} to {} numbers go on from {from}; blocks leased before are void.\n", days.start(), days.end()),
    );
    let begun = begun + &low_ranges(without_numbers, lang);
    if !report.is_sound() {
        let count = report.problems.len() as u64 + report.more;
        let problems = lang.pick(
            format!("Sổ có {count} lỗi: chạy `lgsp fsck` để xem. Trục chưa khởi động được; nếu chấp nhận, xoá tệp RESTORING trong thư mục dữ liệu.\n"),
            format!("The books have {count} problem(s): see `lgsp fsck`. No gateway starts on them; to accept them remove the file RESTORING from the data folder.\n"),
        );
        return format!("{table}{begun}{problems}");
    }
    let list = systems.iter().map(|system| format!("  {system}\n")).collect::<String>();
    let next = lang.pick(
        "Việc tiếp theo: khởi động trục, rồi để các bộ kết nối nối lại; chúng tự gửi lại những gì đã có biên nhận sau bản sao lưu.\nCác hệ thống đã từng gửi:\n",
        "Next: start the gateway and let the adapters connect; by themselves they send again what they have receipts for.\nSystems that have sent something:\n",
    );
    let last = lang.pick(
        "Hệ thống không dùng bộ kết nối phải tự gửi lại, cùng khoá và kèm biên nhận cũ (trường `earlier`).\n",
        "A system without an adapter must send again by itself, with the same key and its earlier receipt (field `earlier`).\n",
    );
    let revoked = lang.pick(
        "Khoá bị thu hồi sau bản sao lưu lại có hiệu lực. Thu hồi lại ngay: lgsp certs revoke --key-sha256 …, theo danh sách đã lưu\n\
         (lgsp audit list --kind certificate-revoked --all --json).\n",
        "Keys that were revoked after the backup are good again. Revoke them again at once: lgsp certs revoke --key-sha256 …, from the list\n\
         that was kept (lgsp audit list --kind certificate-revoked --all --json).\n",
    );
    let certificates = lang.pick(
        "Nếu sau bản sao lưu cổng đã đổi chứng thư mà lần khôi phục này chưa nêu (--own-certificate): đừng khởi động trục; biên nhận ký bằng\n\
         chứng thư ấy sẽ bị từ chối hẳn. Hãy chuyển các thư mục đi và khôi phục lại, có nêu chứng thư đó.\n",
        "If the gateway's certificate was exchanged after the backup, and this restore was not given it (--own-certificate), do not start it:\n\
         receipts signed by that one would be refused for good. Move the folders away and restore again, with that certificate.\n",
    );
    let backup = lang.pick(
        "Khi trục đã chạy, hãy sao lưu ngay: bản sao lưu cũ không biết gì về kỷ nguyên này ngoài ghi chú RESTORED trong thư mục của nó.\n",
        "Once the gateway runs, take a backup: the old one knows nothing of this epoch but the note RESTORED in its folder.\n",
    );
    format!("{table}{begun}{certificates}{next}{list}{last}{revoked}{backup}")
}

/// Whom the restore leaves without numbers of the gateway's, and what to do.
fn low_ranges(authorities: &[PartyId], lang: Lang) -> String {
    if authorities.is_empty() {
        return String::new();
    }
    let list = authorities.iter().map(|authority| format!("  {authority}\n")).collect::<String>();
    let problem = lang.pick(
        "Các cơ quan sau tự cấp số từ một số thấp (own_numbers_from), nên trong những ngày đó trục không còn số nào để cấp thay họ:\n",
        "These authorities number themselves from a low number on (own_numbers_from), so on those days the gateway has no number of theirs to give:\n",
    );
    let remedy = lang.pick(
        "Phần mềm của họ vẫn tự cấp số được. Để các bộ phận khác tiếp nhận được, nâng own_numbers_from trong danh bạ; ngày đã dùng số riêng thì vẫn hết số.\n",
        "Their own software goes on. For other desks raise own_numbers_from in the registry; a day on which they have numbered themselves stays without.\n",
    );
    format!("{problem}{list}{remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_before_the_backup_is_warned_of() {
        let taken_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_752_458_400);
        for lang in [Lang::Vi, Lang::En] {
            assert!(clock_warning(taken_at, taken_at - Duration::from_secs(1), lang).is_some());
            assert_eq!(clock_warning(taken_at, taken_at, lang), None);
        }
    }
}
