package deploy

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	bootstrapName = "bootstrap" // what Lambda starts
	configName    = "secbot.yaml"
	// maxProgram is the most that Lambda takes, unpacked: 250 MiB.
	maxProgram = 250 << 20
)

// ErrNoBootstrap says that a program can't run in Lambda.
var ErrNoBootstrap = errors.New("it can't run in Lambda; `make lambda` builds what can, and --zip names it")

// Architecture says which of Lambda's architectures a program is for, arm64 or
// x86_64. It returns an ErrNoBootstrap unless it is for Linux, needs nothing else to
// run and is for one of these.
func Architecture(program []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("the program is not for Linux: %w", ErrNoBootstrap)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("the program is linked dynamically (build it with CGO_ENABLED=0): %w", ErrNoBootstrap)
		}
	}
	switch f.Machine {
	case elf.EM_AARCH64:
		return "arm64", nil
	case elf.EM_X86_64:
		return "x86_64", nil
	}
	return "", fmt.Errorf("the program is for %v: %w", f.Machine, ErrNoBootstrap)
}

// Zip writes the functions' zip: the program and, unless it is empty, the policy.
// The same content gives the same bytes.
func Zip(out io.Writer, program, config []byte) error {
	z := zip.NewWriter(out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	err := add(z, bootstrapName, 0o755, program)
	if err == nil && len(config) > 0 {
		err = add(z, configName, 0o644, config)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("write the zip: %w", err)
	}
	return nil
}

// add leaves out when it was, which would differ each time.
func add(z *zip.Writer, name string, mode os.FileMode, content []byte) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate}
	header.SetMode(mode)
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// Program reads the functions' program: out of a zip, or the file itself where it is
// none. It returns an ErrNoBootstrap for a zip without a bootstrap.
func Program(path string) ([]byte, error) {
	raw, err := read(os.Open(path))
	if err != nil {
		return nil, fmt.Errorf("read the functions' program: %w", err)
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if errors.Is(err, zip.ErrFormat) {
		return raw, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := z.Open(bootstrapName)
	if err != nil {
		return nil, fmt.Errorf("%s holds no %s: %w", path, bootstrapName, ErrNoBootstrap)
	}
	if raw, err = read(f, nil); err != nil {
		return nil, fmt.Errorf("read the %s of %s: %w", bootstrapName, path, err)
	}
	return raw, nil
}

func read(f io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxProgram+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(raw) > maxProgram {
		return nil, fmt.Errorf("it is over %d MiB, which Lambda does not take", maxProgram>>20)
	}
	return raw, nil
}
