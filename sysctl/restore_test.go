package sysctl

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRestore(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128", MaxUserWatches: "8192", MaxQueuedEvents: "16384", FileMax: "1000"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192), atLeast(MaxUserWatches, 524288), atLeast(MaxQueuedEvents, 65536), atLeast(FileMax, 5000))
	p.Run(t.Context())
	// A second raise keeps the first original.
	p.Rules = []Rule{atLeast(MaxUserInstances, 16384)}
	p.Run(t.Context())
	h.set(MaxUserWatches, "600000") // another program
	inUse := func(k Key) (Value, error) {
		if k == FileMax {
			return 3000, nil
		}
		return Unknown, nil
	}

	p.Act = false
	dry, err := p.Restore(t.Context(), inUse)
	if err != nil || len(dry.Unsatisfied()) == 0 || h.get(MaxUserInstances) != "16384" {
		t.Errorf("dry run: %+v, %v, value %s", dry, err, h.get(MaxUserInstances))
	}
	p.Act = true
	o, err := p.Restore(t.Context(), inUse)
	if err != nil {
		t.Fatal(err)
	}
	want := map[Key]struct {
		outcome Outcome
		value   string
		reason  string
	}{
		MaxUserInstances: {InForce, "128", ""},
		MaxQueuedEvents:  {InForce, "16384", ""},
		MaxUserWatches:   {Drifted, "600000", "another program has set 600000 since"},
		FileMax:          {Refused, "5000", "3000 are in use"},
	}
	for _, s := range o.Rules {
		w := want[s.Key]
		if s.Op != Restore || s.Outcome != w.outcome || h.get(s.Key) != w.value || !strings.Contains(s.Reason, w.reason) {
			t.Errorf("%+v (file: %s), want %+v", s, h.get(s.Key), w)
		}
	}
	if len(o.Rules) != len(want) {
		t.Errorf("%d rules, want %d", len(o.Rules), len(want))
	}
	// What is still nodetune's stays on record, the rest is forgotten.
	o, err = p.Restore(t.Context(), none)
	if err != nil || len(o.Rules) != 1 || o.Rules[0].Key != FileMax || o.Rules[0].Outcome != InForce || h.get(FileMax) != "1000" {
		t.Errorf("second restore: %+v, %v", o, err)
	}
	if _, err := os.Stat(h.file(originalsName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty record is still there: %v", err)
	}
}

// Who counts what is in use walks over /proc, which takes its time.
func TestRestoreLeavesWhatWasSetWhileItCounted(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128", FileMax: "1000"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192), atLeast(FileMax, 5000))
	p.Run(t.Context())
	o, err := p.Restore(t.Context(), func(k Key) (Value, error) {
		h.set(MaxUserInstances, "9000")
		return 0, nil
	})
	if err != nil || h.get(MaxUserInstances) != "9000" || h.get(FileMax) != "1000" {
		t.Fatalf("%v, values %s and %s: want what another program set, and the old one", err, h.get(MaxUserInstances), h.get(FileMax))
	}
	for _, s := range o.Rules {
		if s.Key == MaxUserInstances && (s.Outcome != Drifted || !strings.Contains(s.Reason, "another program has set 9000 since")) {
			t.Errorf("%+v", s)
		}
	}
}

func TestRestoreLeavesWhatCouldNotBeCounted(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	p.Run(t.Context())
	o, err := p.Restore(t.Context(), func(Key) (Value, error) { return Unknown, os.ErrPermission })
	if err != nil || o.Rules[0].Outcome != Refused || !strings.Contains(o.Rules[0].Reason, "permission denied") || h.get(MaxUserInstances) != "8192" {
		t.Errorf("%+v, %v, value %s", o, err, h.get(MaxUserInstances))
	}
}

func TestRestorePausedWhileItWaits(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	p.Run(t.Context())
	other := NewStore(h.root)
	defer other.Close()
	unlock, err := other.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := p.Restore(t.Context(), none)
		done <- err
	}()
	for pid := ""; pid == ""; time.Sleep(time.Millisecond) { // until it is past its first look
		b, _ := os.ReadFile(h.file(agentName))
		pid = string(b)
	}
	if err := os.WriteFile(h.file(pauseName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "paused") || h.get(MaxUserInstances) != "8192" {
		t.Errorf("%v, value %s", err, h.get(MaxUserInstances))
	}
}

func TestRestoreNotAfterAnotherBoot(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	p.Run(t.Context())
	h.write("sys/kernel/random/boot_id", bootB+"\n")
	o, err := p.Restore(t.Context(), none)
	if err != nil || len(o.Rules) != 0 || h.get(MaxUserInstances) != "8192" {
		t.Errorf("%+v, %v, value %s", o, err, h.get(MaxUserInstances))
	}
}

func TestRestoreNotWhileAnAgentRuns(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	p.Run(t.Context())
	leave, err := NewStore(h.root).AcquireAgentLock("http://127.0.0.1:9409")
	if err != nil {
		t.Fatal(err)
	}
	if got := NewStore(h.root).AgentURL(); got != "http://127.0.0.1:9409" {
		t.Errorf("the agent answers at %q", got)
	}
	_, err = p.Restore(t.Context(), none)
	if held, _ := errors.AsType[*LockedError](err); held != nil && held.PID != os.Getpid() {
		t.Errorf("%v does not name this process", err)
	}
	if _, held := errors.AsType[*LockedError](err); !held || h.get(MaxUserInstances) != "8192" {
		t.Errorf("error %v, value %s", err, h.get(MaxUserInstances))
	}
	leave()
	if got := NewStore(h.root).AgentURL(); got != "" {
		t.Errorf("after its end the agent answers at %q", got)
	}
	if _, err := p.Restore(t.Context(), none); err != nil || h.get(MaxUserInstances) != "128" {
		t.Errorf("after the agent: %v, value %s", err, h.get(MaxUserInstances))
	}
}

// nodetune died after it had recorded a write and before it made it.
func TestRestoreAfterAKillBeforeTheWrite(t *testing.T) {
	h := newHost(t, map[Key]string{MaxUserInstances: "128"})
	p := h.pass(true, atLeast(MaxUserInstances, 8192))
	p.Run(t.Context())
	if _, err := p.record([]Change{{Key: MaxUserInstances, From: 8192, To: 16384}}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Restore(t.Context(), none); err != nil || h.get(MaxUserInstances) != "128" {
		t.Errorf("%v, value %s: 8192 is nodetune's own and must be put back", err, h.get(MaxUserInstances))
	}
}

func TestUnreadableRecordIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"cut off":     `{"apiVersion": "nodetune.io/v1`,
		"binary":      "\x00\xff\x01",
		"newer":       `{"apiVersion":"nodetune.io/v9","kind":"Originals","bootID":"x","keys":{}}`,
		"foreign key": `{"apiVersion":"nodetune.io/v1alpha1","kind":"Originals","bootID":"` + bootA + `","keys":{"kernel.panic":{"before":"1","wrote":"2"}}}`,
		"path":        `{"apiVersion":"nodetune.io/v1alpha1","kind":"Originals","bootID":"` + bootA + `","keys":{"fs/../../../x":{"before":"1","wrote":"2"}}}`,
		"no value":    `{"apiVersion":"nodetune.io/v1alpha1","kind":"Originals","bootID":"` + bootA + `","keys":{"fs.file-max":{"wrote":"2"}}}`,
		"10 MB":       strings.Repeat(" ", 10<<20),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, map[Key]string{MaxUserInstances: "128"})
			if err := os.MkdirAll(h.file(""), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.file(originalsName), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			p := h.pass(true, atLeast(MaxUserInstances, 8192))
			o := p.Run(t.Context())
			if o.Rules[0].Outcome != InForce || len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], originalsName) {
				t.Errorf("%+v: want it in force with one warning that names the record", o)
			}
			if _, err := p.Restore(t.Context(), none); err == nil || !strings.Contains(err.Error(), "remove it") {
				t.Errorf("restore: %v, want an error that says what to do", err)
			}
			if b, _ := os.ReadFile(h.file(originalsName)); string(b) != text {
				t.Error("the record was overwritten")
			}
			if h.get(MaxUserInstances) != "8192" {
				t.Errorf("value %s", h.get(MaxUserInstances))
			}
		})
	}
}

// What is taken names only keys that nodetune may write, and is written out as
// the same record.
func FuzzOriginals(f *testing.F) {
	full := Originals{}.with([]Change{{MaxUserInstances, 128, 8192}, {FileMax, 5, 1<<63 - 1}}, bootA)
	b, err := full.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"apiVersion":"nodetune.io/v1alpha1","kind":"Originals","bootID":"x","keys":{"fs.file-max":{"before":1,"wrote":2,"wroteBefore":""}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOriginals(bytes.NewReader(b))
		if err != nil {
			return
		}
		for k, v := range o.Keys {
			if err := CheckKey(k); err != nil || !v.Before.Known() || !v.Wrote.Known() {
				t.Fatalf("%q holds %s: %+v, %v", b, k, v, err)
			}
		}
		out, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseOriginals(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("what was taken is refused when written out: %v\n%s", err, out)
		}
		if twice, _ := again.encode(); !bytes.Equal(out, twice) {
			t.Fatalf("%s is read back as %s", out, twice)
		}
	})
}
