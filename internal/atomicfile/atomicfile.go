// Package atomicfile writes files that are there as a whole or not at all.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is a file that is being written under another name, beside its place.
type File struct {
	*os.File
	path string
}

// Create begins a file that its owner alone may read. Until Keep nothing is at
// path, or what was there before. Where path can't be written to, that is told
// here, and not once all the work is done.
func Create(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file that can be replaced: name another", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return nil, fmt.Errorf("make a file beside %s: %w", path, err)
	}
	return &File{File: f, path: path}, nil
}

// Keep puts the file, written and synced, in its place.
func (f *File) Keep() error {
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.path, err), f.remove())
	}
	return nil
}

// Drop takes the file back; what was at its place before stays.
func (f *File) Drop() error { return errors.Join(f.Close(), f.remove()) }

func (f *File) remove() error {
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("remove an unfinished file: %w", err)
	}
	return nil
}
