package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// writer writes numbered lines, and opens its log again on SIGHUP.
const writer = `[Service]
User=daemon
ExecStartPre=+/bin/sh -c 'mkdir -p /var/log/app; touch /var/log/app/app.log; chown daemon /var/log/app/app.log'
ExecStart=/bin/sh -c 'exec 3>>/var/log/app/app.log; trap "exec 3>>/var/log/app/app.log" HUP; i=0; while :; do i=$((i+1)); echo $i >&3; sleep 0.001; done'
`

// rotations has the agent rotate the writer's log.
const rotations = `apiVersion: nodetune.io/v1alpha1
kind: Configuration
disk:
  mode: exclusive
  rotations:
    - paths: [/var/log/app/app.log]
      maxSize: 1Ki
      compress: none
      reopen: {unit: writer.service}
`

// The log of a unit is rotated by a signal to its process and to no other:
// systemd notices nothing, and every line is there once and in order. First by
// the agent in the unit with its drop-in, then by hand.
func TestRotateUnit(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.write(t, "etc/systemd/system/writer.service", writer)
	// SIGHUP would end this one, which reads.
	h.write(t, "etc/systemd/system/bystander.service", "[Service]\nUser=daemon\nExecStart=/bin/sh -c 'exec 3</var/log/app/app.log; exec sleep infinity'\n")
	h.write(t, "etc/nodetune.yaml", rotations)
	conf, err := os.ReadFile(filepath.Join(deploy, "systemd/logs.conf"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "etc/systemd/system/nodetune.service.d/logs.conf", string(conf))
	h.boot(t)
	h.run(t, "systemctl start writer; until test -s /var/log/app/app.log; do sleep 0.1; done")
	h.install(t)
	archives := func() []string { return strings.Fields(h.run(t, "cd /var/log/app; ls app.log.* 2>/dev/null || true")) }
	cluster.Eventually(t, "the agent rotates", func(context.Context) error {
		if len(archives()) == 0 {
			return errors.New("there is no archive")
		}
		return nil
	})
	if log := h.run(t, "journalctl -b -u nodetune -o cat"); strings.Contains(log, "disk.mode is own") {
		t.Errorf("the drop-in lacks a grant:\n%s", log)
	}
	h.run(t, "systemctl stop nodetune; systemctl start bystander")
	pids := h.show(t, "writer bystander", "MainPID")
	before := len(archives())
	for range 3 {
		h.run(t, "nodetune disk rotate --force --wait 0s --compress none --unit writer.service /var/log/app/app.log 2>&1 || test $? = 1")
		h.run(t, "n=$(stat -c %s /var/log/app/app.log); until test $(stat -c %s /var/log/app/app.log) -gt $n; do sleep 0.1; done")
	}
	if now := h.show(t, "writer bystander", "MainPID"); now != pids {
		t.Errorf("the processes are %q, were %q", now, pids)
	}
	h.run(t, "systemctl kill -s KILL writer")
	names := append(archives(), "app.log")
	if len(names) != before+4 {
		t.Errorf("three rotations made of %d archives %q", before, names)
	}
	var lines []string
	for _, name := range names {
		lines = append(lines, strings.Fields(h.run(t, "cat /var/log/app/"+name))...)
		if owner := h.run(t, "stat -c %U /var/log/app/"+name); owner != "daemon" {
			t.Errorf("%s is %s's", name, owner)
		}
	}
	for i, line := range lines {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d of %d is %s", i+1, len(lines), line)
		}
	}
	t.Logf("%d lines in %q", len(lines), names)
}
