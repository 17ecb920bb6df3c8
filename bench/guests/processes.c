/* Two processes that pass a byte to and fro through pipes. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	enum { ROUNDS = 50000 };
	int there[2], back[2];
	char c = 0;
	if (pipe(there) || pipe(back))
		return 1;
	if (fork() == 0) {
		for (int i = 0; i < ROUNDS; i++)
			if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			return 1;
	int status;
	wait(&status);
	printf("%d\n", status);
	return 0;
}
