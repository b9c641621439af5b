package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nodetune/nodetune/internal/atomicfile"
)

// GuardState is what the agent's guard publishes for other nodetune processes on
// the host, in <rootfs>/run/nodetune/guard.json.
type GuardState struct {
	Mode GuardMode `json:"guard"`
	// Reason says why the guard is off, or does less than it could.
	Reason string   `json:"guard_reason,omitempty"`
	Limits []string `json:"guard_limits,omitempty"` // what it does not know of a write
	// ProgramID is that of the attached BPF program. It ends with the agent, and
	// this file does not.
	ProgramID uint32         `json:"program_id,omitempty"`
	Writes    ObservedWrites `json:"observed_writes,omitempty"`
}

const (
	guardStateName = "guard.json"
	// maxGuardStateBytes is for writesKept entries of less than 2 KiB each.
	maxGuardStateBytes = 1 << 19
)

// PutGuardState publishes g. It needs no lock: only the agent writes it.
func (s *Store) PutGuardState(g GuardState) error {
	dir, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	b, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return atomicfile.Write(dir, guardStateName, append(b, '\n'), 0o644)
}

// GuardState returns what an agent published since the boot. None is not an error.
func (s *Store) GuardState() (GuardState, error) {
	f, err := os.Open(filepath.Join(s.dir, guardStateName))
	if errors.Is(err, fs.ErrNotExist) {
		return GuardState{}, nil
	}
	if err != nil {
		return GuardState{}, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxGuardStateBytes+1))
	if err == nil && len(b) > maxGuardStateBytes {
		err = fmt.Errorf("is larger than %d bytes", maxGuardStateBytes)
	}
	var g GuardState
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		return GuardState{}, fmt.Errorf("read %s: %w: remove it, the agent writes it again", f.Name(), err)
	}
	return g, nil
}
