// Compiled code, collections of garbage, faults as exceptions, threads, a child; status 6.
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.*;
import java.util.stream.*;

public class Many {
    static volatile Object sink;

    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

    static int deep(int n) { return deep(n + 1) + 1; }

    public static void main(String[] args) throws Exception {
        System.out.println(fib(30));
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> results = new ArrayList<>();
        for (int k = 0; k < 8; k++) {
            int seed = k;
            results.add(pool.submit(() -> {
                long h = seed;
                for (int i = 0; i < 300000; i++) {
                    byte[] b = new byte[64];
                    b[i & 63] = 1;
                    sink = b;
                    h = h * 31 + b[i % 64];
                }
                return h;
            }));
        }
        for (var r : results) System.out.println(r.get());
        pool.shutdown();
        System.gc();
        try { Object o = args.length == 0 ? null : args; o.hashCode(); } catch (NullPointerException e) { System.out.println("null"); }
        try { deep(0); } catch (StackOverflowError e) { System.out.println("deep"); }
        try { System.out.println(1 / args.length); } catch (ArithmeticException e) { System.out.println(e.getMessage()); }
        System.out.println(IntStream.range(0, 100000).parallel().mapToObj(i -> "k" + i % 100)
            .collect(Collectors.groupingByConcurrent(s -> s, Collectors.counting())).size());
        Process p = new ProcessBuilder("echo", "sub").start();
        System.out.print(new String(p.getInputStream().readAllBytes()));
        System.exit(p.waitFor() + 6);
    }
}
