// Package sysctld determines what sets a kernel setting at the next boot: which
// file and line wins, which lines it overrides, and which file masks another.
//
// It reads <root>/{etc,run,usr/local/lib,usr/lib,lib}/sysctl.d/*.conf,
// <root>/etc/sysctl.conf, and the active TuneD profile below <root>/etc/tuned
// and <root>/usr/lib/tuned. It needs no capability where these are readable by
// all, and writes nothing. Symbolic links are resolved inside root: with a root
// other than / that needs openat2(2) of Linux 5.6.
//
// Two programs load these files and differ in details, so the package answers
// for each: systemd-sysctl (compared with 252) and sysctl --system of procps
// (compared with 4.0.2). procps before 4.0.0 knows neither globs nor exclusions
// and writes each line as it reads it; distributions have backported both.
//
// It does not predict later values: a unit, a container or an agent may write
// the key after the boot. It does not follow credentials
// (sysctl.extra) nor the --prefix runs that udev starts for network devices.
package sysctld
