//! The allocator setting that training on the CPU needs.

/// Tells glibc to keep freed blocks instead of giving them back to the system after every tensor. Page faults for
/// fresh blocks otherwise cost more than most operations (docs/performance.md). For the main function of a program;
/// a library must not decide this for its user. Does nothing with another C library.
pub fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes tunables of the allocator; called before threads start.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// The largest resident memory of this process so far, MB; `None` where /proc does not tell.
pub fn peak_resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
}
