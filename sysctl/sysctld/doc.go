// Package sysctld says who would set a kernel setting at the next boot: which
// file and line wins, whom it overrides, and which file masks which.
//
// It reads <root>/{etc,run,usr/local/lib,usr/lib,lib}/sysctl.d/*.conf,
// <root>/etc/sysctl.conf, and the active TuneD profile below <root>/etc/tuned
// and <root>/usr/lib/tuned. It needs no capability where these are readable by
// all, and writes nothing. Symbolic links are resolved inside root: with a root
// other than / that needs openat2(2) of Linux 5.6.
//
// Two programs load these files and they disagree in corners, so it answers for
// each: systemd-sysctl (compared with 252) and sysctl --system of procps
// (compared with 4.0.2). procps before 4.0.0 knows neither globs nor exclusions
// and writes each line as it reads it; distributions have backported both.
//
// It does not say what value a key will have later: a unit, a container or an
// agent may write it after the boot. Nor does it follow credentials
// (sysctl.extra) or the --prefix runs that udev starts for network devices.
package sysctld
