// Package workerpb is the generated code of worker.proto: the messages and the service between nodes.
package workerpb

//go:generate sh -c "cd ../../.. && go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go && protoc --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-connect-go --go_out=. --go_opt=module=github.com/raftmetrics/raftmetrics --connect-go_out=. --connect-go_opt=module=github.com/raftmetrics/raftmetrics,simple,package_suffix adapters/workerrpc/workerpb/worker.proto"
