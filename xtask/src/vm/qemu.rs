//! One run of QEMU: its command line, its time limit, its end.
//!
//! Software emulation alone. Hardware acceleration is never tried: where nested virtualisation is only half
//! there, a guest under it hangs.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    Disks, VmError,
    progress::Progress,
    tools::{self, SETPRIV},
};

/// The guest's output is passed on by lines, a longer one in pieces.
const LINE_MAX_BYTES: u64 = 64 * 1024;

/// A machine to run.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) kernel_arguments: String,
    pub(super) cpus: u32,
    pub(super) memory_mib: u32,
    /// Virtual time counts instructions.
    pub(super) icount: bool,
    pub(super) disks: Option<&'a Disks>,
    pub(super) time_limit: Duration,
    pub(super) logs: &'a Logs,
}

/// The files that a run leaves.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    /// The kernel's console.
    pub(super) console: PathBuf,
    /// The command's standard output and error.
    pub(super) output: PathBuf,
    /// The result port.
    pub(super) result: PathBuf,
    /// QEMU's own complaints.
    pub(super) qemu: PathBuf,
}

impl Logs {
    /// Names for a run in `dir`.
    pub(super) fn new(dir: &Path, run: &str) -> Self {
        let file = |part: &str| dir.join(format!("{run}.{part}.log"));
        Self { console: file("console"), output: file("output"), result: file("result"), qemu: file("qemu") }
    }
}

/// How QEMU ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself: the guest powered off, panicked, or QEMU failed.
    ByItself(ExitStatus),
    /// Stopped at the time limit.
    AtLimit,
}

impl Machine<'_> {
    fn command(&self) -> Result<Command, VmError> {
        let qemu = tools::qemu()?;
        // The kernel stops QEMU when this process is gone, however it went.
        let mut command = SETPRIV.command()?;
        command.args(["--pdeathsig", "KILL", "--"]).arg(qemu);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-M",
            "q35",
            "-cpu",
            "max",
        ]);
        if self.icount {
            command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]);
        } else {
            command.args(["-accel", "tcg,thread=multi"]);
        }
        command.arg("-smp").arg(self.cpus.to_string()).arg("-m").arg(format!("{}M", self.memory_mib));
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        command.arg("-append").arg(&self.kernel_arguments);
        for disk in self.disks.iter().flat_map(|disks| [&disks.system, &disks.files]) {
            command.arg("-drive").arg(drive(disk));
        }
        // What a guest writes is in a file without a name, beside the logs: on a disk, which `/tmp` need not be.
        command.env("TMPDIR", self.logs.console.parent().unwrap_or(Path::new("/var/tmp")));
        command.arg("-serial").arg(file_port(&self.logs.console));
        command.args(["-serial", "stdio"]);
        command.arg("-serial").arg(file_port(&self.logs.result));
        Ok(command)
    }

    /// Runs it to its end, or to the time limit; `echo` passes the command's output on as it comes.
    pub(super) fn run(&self, echo: Option<&Progress>) -> Result<Ended, VmError> {
        let complaints = File::create(&self.logs.qemu).map_err(VmError::io("create", &self.logs.qemu))?;
        let output = File::create(&self.logs.output).map_err(VmError::io("create", &self.logs.output))?;
        let mut command = self.command()?;
        command.stdout(Stdio::piped()).stderr(complaints);
        let program = PathBuf::from(command.get_program());
        let mut process = Process(command.spawn().map_err(VmError::io("start", &program))?);
        let Some(stdout) = process.0.stdout.take() else {
            return Err(VmError::io("read from", program)(io::ErrorKind::BrokenPipe.into()));
        };

        // QEMU holds the pipe as long as it lives, so the end of the stream is the end of the machine.
        let (sender, ended) = mpsc::sync_channel(1);
        let copied = thread::scope(|scope| {
            let copier = scope.spawn(move || {
                let copied = copy(stdout, output, echo);
                // The other side may have left at its time limit.
                let _ = sender.send(());
                copied
            });
            let at_limit = ended.recv_timeout(self.time_limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if at_limit {
                process.stop();
            }
            (at_limit, copier.join())
        });
        let status = process.0.wait().map_err(VmError::io("wait for", &program))?;
        match copied {
            (true, _) => Ok(Ended::AtLimit),
            (false, Ok(Ok(()))) => Ok(Ended::ByItself(status)),
            (false, Ok(Err(e))) => Err(VmError::io("write the guest's output to", &self.logs.output)(e)),
            (false, Err(_)) => {
                Err(VmError::io("copy the guest's output to", &self.logs.output)(io::ErrorKind::Other.into()))
            }
        }
    }

    /// QEMU's own words and status, for an error.
    pub(super) fn complaint(&self, status: ExitStatus) -> String {
        let said = fs::read_to_string(&self.logs.qemu).unwrap_or_default();
        match said.trim() {
            "" => format!("qemu: {status}"),
            said => format!("qemu: {status}: {said}"),
        }
    }
}

/// A comma in a file name separates options unless doubled.
fn file_port(path: &Path) -> String {
    format!("file:{}", path.display().to_string().replace(',', ",,"))
}

/// A disk that stays as it is: what is written goes to a file that QEMU deletes.
fn drive(image: &Path) -> String {
    let image = image.display().to_string().replace(',', ",,");
    format!("file={image},format=raw,if=virtio,snapshot=on,cache=unsafe")
}

/// By whole lines, so that the spinner never cuts one.
fn copy(from: ChildStdout, mut to: File, echo: Option<&Progress>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while (&mut from).take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? != 0 {
        to.write_all(&line)?;
        if let Some(progress) = echo {
            progress.echo(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// QEMU, stopped when dropped.
struct Process(Child);

impl Process {
    fn stop(&mut self) {
        // It fails only when the process has ended by itself.
        let _ = self.0.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        let _ = self.0.wait();
    }
}
