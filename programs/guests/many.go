// Goroutines, channels, preemption, garbage, faults as panics, sockets, signals; status 8.
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	var wait sync.WaitGroup
	var count int64
	values := make(chan int, 4)
	for i := 0; i < 100; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for k := 0; k < 1000; k++ {
				atomic.AddInt64(&count, 1)
				if k%100 == 0 {
					runtime.Gosched()
				}
			}
			values <- i
		}(i)
	}
	go func() { wait.Wait(); close(values) }()
	sum := 0
	for v := range values {
		sum += v
	}
	fmt.Println(count, sum)
	m := map[string][]int{}
	for i := 0; i < 200000; i++ {
		k := fmt.Sprint(i % 1000)
		m[k] = append(m[k], i)
	}
	runtime.GC()
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println(len(keys), keys[:3], len(m["7"]))
	func() {
		defer func() { fmt.Println(recover()) }()
		var p *struct{ x [9]int }
		fmt.Println(p.x[3])
	}()
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				line, _ := bufio.NewReader(c).ReadString('\n')
				fmt.Fprint(c, "echo "+line)
				c.Close()
			}()
		}
	}()
	for i := 0; i < 5; i++ {
		c, _ := net.Dial("tcp", listener.Addr().String())
		fmt.Fprintln(c, i)
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Print(line)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-signals)
	out, err := exec.Command("sh", "-c", "echo sub; exit 3").Output()
	fmt.Print(string(out))
	fmt.Println(err)
	_, err = os.Open("/none")
	fmt.Println(errors.Is(err, os.ErrNotExist))
	stop := make(chan bool)
	go func() {
		for x := 0; ; x++ {
		}
	}()
	go func() { time.Sleep(20 * time.Millisecond); stop <- true }()
	<-stop
	fmt.Printf("%x\n", sha256.Sum256([]byte("x")))
	os.Exit(8)
}
