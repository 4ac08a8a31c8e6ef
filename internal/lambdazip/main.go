// Command lambdazip packs a bootstrap for Lambda, the same bytes each time:
//
//	lambdazip BOOTSTRAP ZIP
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"secbot/internal/deploy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("say which bootstrap, and which zip to write")
	}
	program, err := deploy.Program(args[0])
	if err != nil {
		return err
	}
	if _, err := deploy.Architecture(program); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := deploy.Zip(&b, program, nil); err != nil {
		return err
	}
	return os.WriteFile(args[1], b.Bytes(), 0o644) //nolint:gosec // nothing in it is secret
}
