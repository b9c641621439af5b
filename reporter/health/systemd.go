package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Systemd speaks sd_notify(3) with the service manager that started this
// process. Where none did, $NOTIFY_SOCKET is not set and every method does
// nothing. A message that cannot be sent is lost: systemd's own timeouts are
// the remedy, an agent that stops is not.
type Systemd struct{}

// Ready says that the start, or a reload, is complete, and with which result.
func (Systemd) Ready(status string) { notify(daemon.SdNotifyReady, "STATUS="+oneLine(status)) }

// Status shows one line in `systemctl status`.
func (Systemd) Status(status string) { notify("STATUS=" + oneLine(status)) }

// Reloading says that the configuration is being read again, until Ready. The
// time is what Type=notify-reload (systemd 253) needs to distinguish one reload
// from another.
func (Systemd) Reloading() {
	notify(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Stopping says that the agent is about to end.
func (Systemd) Stopping() { notify(daemon.SdNotifyStopping) }

// Watchdog says that the agent is alive twice in each WatchdogSec of its unit
// for as long as live says so, until ctx is done. It returns at once where the
// unit sets none.
func (Systemd) Watchdog(ctx context.Context, live func(now time.Time) error) error {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read $WATCHDOG_USEC: %w", err)
	}
	if within == 0 {
		return nil
	}
	tick := time.NewTicker(within / 2)
	defer tick.Stop()
	for ctx.Err() == nil {
		if live(time.Now()) == nil {
			notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

func notify(assignments ...string) {
	_, _ = daemon.SdNotify(false, strings.Join(assignments, "\n"))
}

// oneLine keeps a status from becoming a second assignment.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }
