package sysctld

import (
	"path"
	"strings"
)

// commandFile is a file, or a pattern of files, of commands that run at boot.
type commandFile struct{ dir, suffix, when string }

// commandFiles is where people put commands that set a key. cloud-init keeps the
// user data of the instance below /var/lib/cloud/instance, readable by root.
var commandFiles = []commandFile{
	{"/var/lib/cloud/instance/user-data.txt", "", "cloud-init, at the first boot of the instance or at each with bootcmd"},
	{"/var/lib/cloud/instance/vendor-data.txt", "", "cloud-init, at the first boot of the instance or at each with bootcmd"},
	{"/var/lib/cloud/instance/scripts", "", "cloud-init, at the first boot of the instance"},
	{"/var/lib/cloud/scripts/per-boot", "", "cloud-init, at each boot"},
	{"/etc/cloud/cloud.cfg", "", "cloud-init"},
	{"/etc/cloud/cloud.cfg.d", ".cfg", "cloud-init"},
	{"/etc/rc.local", "", "rc.local, at each boot"},
	{"/etc/rc.d/rc.local", "", "rc.local, at each boot"},
	{"/etc/local.d", ".start", "OpenRC, at each boot"},
	{"/etc/systemd/system", ".service", "a systemd unit, where it is enabled"},
	{"/etc/tmpfiles.d", ".conf", "systemd-tmpfiles, at each boot"},
	{"/etc/udev/rules.d", ".rules", "udev, when its device appears"},
	{"/etc/crontab", "", "cron, at its time"},
	{"/etc/cron.d", "", "cron, at its time"},
	{"/etc/ufw/sysctl.conf", "", "ufw, when it starts the firewall"},
	{"/etc/credstore/sysctl.extra", "", "systemd-sysctl, as a credential, over the files of sysctl.d"},
	{"/run/credstore/sysctl.extra", "", "systemd-sysctl, as a credential, over the files of sysctl.d"},
	{"/usr/lib/credstore/sysctl.extra", "", "systemd-sysctl, as a credential, over the files of sysctl.d"},
}

// Commands returns the lines of start scripts, units and cloud-init below root
// that name path. nodetune does not run or interpret them: that a line stands
// there is all that is known.
func Commands(root, key string) []Setting {
	t, err := openTree(root)
	if err != nil {
		return nil
	}
	defer t.close()
	var found []Setting
	for _, c := range commandFiles {
		files := []string{c.dir}
		if listed, _, err := t.list(c.dir); err == nil {
			files = nil
			for _, name := range listed[:min(len(listed), maxStrays)] {
				if strings.HasSuffix(name, c.suffix) {
					files = append(files, path.Join(c.dir, name))
				}
			}
		}
		for _, file := range files {
			found = append(found, t.commands(file, key, c.when)...)
		}
	}
	return found[:min(len(found), maxIneffective)]
}

// commands returns the lines of one file that name key and are no comment.
func (t *tree) commands(file, key, when string) []Setting {
	f, err := t.openRegular(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var found []Setting
	in := newLines(f, Procps)
	for in.next() == nil && len(found) < maxProblems {
		text := strings.TrimSpace(string(in.text))
		if text == "" || text[0] == '#' || text[0] == ';' || !mentions(text, key) {
			continue
		}
		found = append(found, Setting{Place: Place{file, in.number}, Key: shorten(text), Reason: when})
	}
	return found
}
