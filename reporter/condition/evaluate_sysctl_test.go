package condition

import (
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Writes that a guard saw stand in the message of SysctlDrift alone: its status and
// reason, and every other condition, are the same without them.
func TestObservedWritesMoveNoCondition(t *testing.T) {
	now := time.Now()
	rule := func(o sysctl.Outcome, v sysctl.Value) []sysctl.Status {
		return []sysctl.Status{{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192}, Value: v, Outcome: o, Reason: "a reason"}}
	}
	writes := sysctl.ObservedWrites{{
		Key: sysctl.MaxUserInstances, First: now, Last: now, Count: 3, From: 8192, To: 128, BelowFloor: true,
		Process: `"Paused\x1b[31m"[812]`, PID: 812, Namespace: "logs", Pod: "fluent", Container: "init",
	}}
	for name, tt := range map[string]struct {
		pass   sysctl.PassResult
		reason string
		says   bool
	}{
		"in force":  {sysctl.PassResult{Rules: rule(sysctl.InForce, 8192)}, FloorsInForce, true},
		"drifted":   {sysctl.PassResult{Rules: rule(sysctl.Drifted, 128)}, FloorNotHeld, true},
		"paused":    {sysctl.PassResult{Rules: rule(sysctl.Drifted, 128), Paused: "/run/nodetune/pause"}, Paused, true},
		"contested": {sysctl.PassResult{Rules: rule(sysctl.Contested, 128)}, ContestedByWriter, true},
		"failed":    {sysctl.PassResult{Rules: rule(sysctl.Failed, 128)}, WriteFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			evaluated := func(w sysctl.ObservedWrites) []Evaluation {
				p := tt.pass
				p.ObservedWrites = w
				return Evaluate(reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: p, At: now}}, now, time.Minute, inotify.DefaultPolicy())
			}
			without, with := evaluated(nil), evaluated(writes)
			for i := range with {
				if with[i].Type == SysctlDrift {
					if with[i].Reason != tt.reason {
						t.Errorf("the reason is %s, want %s", with[i].Reason, tt.reason)
					}
					m := truncate(with[i].Message)
					if !strings.Contains(m, `lowered 3 times in the last hour by "Paused\x1b[31m"[812] of pod logs/fluent, container init`) {
						t.Errorf("the message lacks the writer: %s", m)
					}
					with[i].Message = without[i].Message
				}
				if with[i] != without[i] {
					t.Errorf("the writes change %+v to %+v", without[i], with[i])
				}
			}
		})
	}
	old := now.Add(2 * time.Hour)
	if v := sysctlDrift(sysctl.PassResult{Rules: rule(sysctl.InForce, 8192), ObservedWrites: writes}, old); v.Message != "every setting is as wanted" {
		t.Errorf("two hours later: %s", v.Message)
	}
}
