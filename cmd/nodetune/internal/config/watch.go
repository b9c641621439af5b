package config

import "slices"

// File is a configuration file, or a directory of them, that may change while the
// agent runs. It is polled: an agent that needs an inotify instance fails exactly
// when it is needed.
type File[C any] struct {
	read  func() ([]Part, error)
	parse func([]Part) (C, error)

	inForce    []Part
	lastPolled []Part // of the last poll
	polled     bool
	rejected   error // why what the file holds now is not in force
}

// ReloadResult is what a poll found.
type ReloadResult[C any] struct {
	Config   C
	Changed  bool  // config is new and valid: put it in force
	Reverted bool  // the files match the configuration in force again
	Err      error // the files cannot be read, trusted or parsed, for a reason that is new
}

// Poll reads the files. A valid new configuration is returned. An invalid one, or
// files that may not be read or trusted, are rejected once, and the old
// configuration stays in force. A change counts only when two polls have read the
// same bytes: a file may be read between being truncated and being written, and
// half of a file may be valid. With atOnce, as after SIGHUP, it counts immediately.
func (f *File[C]) Poll(atOnce bool) ReloadResult[C] {
	parts, err := f.read()
	if err != nil {
		return f.reject(err)
	}
	settled := atOnce || f.polled && slices.Equal(parts, f.lastPolled)
	f.lastPolled, f.polled = parts, true
	if f.inForce != nil && slices.Equal(parts, f.inForce) {
		mended := f.rejected != nil
		f.rejected = nil
		return ReloadResult[C]{Reverted: mended}
	}
	if !settled {
		return ReloadResult[C]{}
	}
	config, err := f.parse(parts)
	if err != nil {
		return f.reject(err)
	}
	f.inForce, f.rejected = parts, nil
	return ReloadResult[C]{Config: config, Changed: true}
}

func (f *File[C]) reject(err error) ReloadResult[C] {
	news := f.rejected == nil || f.rejected.Error() != err.Error()
	f.rejected = err
	if !news {
		return ReloadResult[C]{}
	}
	return ReloadResult[C]{Err: err}
}

// Watch returns the configuration of the named file or directory, and the File to
// poll for changes. Without a name there is nothing to poll: the File is nil.
func Watch(name string) (Config, *File[Config], error) {
	if name == "" {
		return Default(), nil, nil
	}
	cfg, err := Load(name)
	if err != nil {
		return cfg, nil, err
	}
	file := &File[Config]{
		read:  func() ([]Part, error) { return readParts(name, trustOwn()) },
		parse: func(parts []Part) (Config, error) { return ParseParts(parts, name) },
	}
	v := file.Poll(true)
	if v.Err != nil { // it changed since it was loaded
		return Config{}, nil, v.Err
	}
	return v.Config, file, nil
}
