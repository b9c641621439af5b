package bpf

import "errors"

// ErrTemporary marks errors of [Open] and [OpenWalk] that may be gone some minutes
// later: a self-test that other processes disturbed, or that the node had no
// descriptors for. A caller tries again. Other errors stay as long as the kernel and
// the permissions of nodetune do.
var ErrTemporary = errors.New("temporary failure")

type temporaryError struct{ error }

func (e temporaryError) Is(target error) bool { return target == ErrTemporary }

func (e temporaryError) Unwrap() error { return e.error }
