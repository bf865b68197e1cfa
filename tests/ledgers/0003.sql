BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE drop_tasks (
	uid VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	PRIMARY KEY (uid, position), 
	FOREIGN KEY(uid) REFERENCES drops (uid), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "drop_tasks" VALUES('2c88fb7dec7c47d9ba4cff0bf98fedf8',0,5);
INSERT INTO "drop_tasks" VALUES('2c88fb7dec7c47d9ba4cff0bf98fedf8',1,6);
INSERT INTO "drop_tasks" VALUES('fea6c6e2cc954e7f9316808e8d6222a2',0,7);
INSERT INTO "drop_tasks" VALUES('0837bc3ada39417186205c6cbc79e2f6',0,13);
INSERT INTO "drop_tasks" VALUES('0837bc3ada39417186205c6cbc79e2f6',1,14);
CREATE TABLE drops (
	uid VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	kept_as VARCHAR, 
	archived BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (uid)
);
INSERT INTO "drops" VALUES('2c88fb7dec7c47d9ba4cff0bf98fedf8','good.json',1.79538653998488783834e+09,'done/good.json',1);
INSERT INTO "drops" VALUES('fea6c6e2cc954e7f9316808e8d6222a2','bad.json',1.79538654074682426449e+09,'failed/bad.json',1);
INSERT INTO "drops" VALUES('0837bc3ada39417186205c6cbc79e2f6','waiting.json',1.79538654152277731891e+09,NULL,0);
CREATE TABLE speeches (
	id INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	file_name VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	token INTEGER DEFAULT 0 NOT NULL, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	segments_done INTEGER DEFAULT 0 NOT NULL, 
	segments_total INTEGER, 
	audio_seconds FLOAT DEFAULT 0 NOT NULL, 
	process_time FLOAT DEFAULT 0 NOT NULL, 
	digest VARCHAR, 
	error TEXT, batched BOOLEAN DEFAULT 0 NOT NULL, in_company BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT speech_state CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')), 
	FOREIGN KEY(task) REFERENCES tasks (id)
);
INSERT INTO "speeches" VALUES(1,1,0,'task_1795386538_0.wav','completed',5,1,0,1,1,0.65,2.39492997934576123952e-04,'f6ab978f81059f0f513adf1b09fa7f8d3c8fa8784d1ecc59848e67ee9cfd2601',NULL,0,0);
INSERT INTO "speeches" VALUES(2,2,0,'task_1795386538_1.wav','failed',5,1,0,0,1,0.0,1.29984300292562693357e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(3,3,0,'a.wav','completed',5,1,0,1,1,0.2,2.21263999264920130372e-04,'21ea2f3994432d133af4aa9f62cca15967e1263833c59223c0fb4db1963a082b',NULL,0,0);
INSERT INTO "speeches" VALUES(4,3,1,'b.wav','completed',5,1,0,1,1,0.2,2.19323002966120839118e-04,'21ea2f3994432d133af4aa9f62cca15967e1263833c59223c0fb4db1963a082b',NULL,0,0);
INSERT INTO "speeches" VALUES(5,4,0,'a.wav','completed',9,1,0,1,1,0.2,1.16068550014460925012e-02,'b8287472f7fe6c0a4dad7c0d47d5794e3fbe45db097296c844c5015827b84d5a',NULL,0,0);
INSERT INTO "speeches" VALUES(6,4,1,'b.wav','failed',9,1,0,0,1,0.0,1.46128499909536913037e-03,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(7,5,0,'task_1795386539_4.wav','completed',5,1,0,1,1,0.65,1.90787999599706381559e-04,'0251518c69a4759aeecc90d4aa77a4752f3e54dd7f85d17a3a71f66e7c457d8f',NULL,0,0);
INSERT INTO "speeches" VALUES(8,6,0,'task_1795386539_5.wav','completed',5,1,0,1,1,0.65,2.39332002820447087287e-04,'a0fb9d5533d561ec595f2f290970d41ffcc1d11160ab3464f1502d7bc8c045e6',NULL,0,0);
INSERT INTO "speeches" VALUES(9,7,0,'task_1795386540_6.wav','failed',5,1,0,0,1,0.0,9.78765001491410657763e-04,NULL,'the engine failed: RuntimeError: the text holds ''FAIL''',0,0);
INSERT INTO "speeches" VALUES(10,8,0,'1.wav','completed',5,1,0,1,1,0.35,2.79631000012159347534e-03,'0805caf3f5b552b6c6762ab79e848914b45351d0fc240a6a06a8eeb47b4040e6',NULL,0,0);
INSERT INTO "speeches" VALUES(11,8,1,'2.wav','processing',5,1,1,0,1,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(12,8,2,'3.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(13,9,0,'task_1795386541_8.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(14,10,0,'task_1795386541_9.wav','pending',9,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(15,11,0,'x.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(16,11,1,'y.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,1,0);
INSERT INTO "speeches" VALUES(17,12,0,'task_1795386541_11.wav','cancelled',5,0,0,0,NULL,0.0,0.0,NULL,'cancelled',0,0);
INSERT INTO "speeches" VALUES(18,13,0,'task_1795386541_12.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
INSERT INTO "speeches" VALUES(19,14,0,'task_1795386541_13.wav','pending',5,0,0,0,NULL,0.0,0.0,NULL,NULL,0,0);
CREATE TABLE tasks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	batch BOOLEAN NOT NULL, 
	state VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	infer_mode VARCHAR NOT NULL, 
	prompt VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	format VARCHAR NOT NULL, 
	options JSON NOT NULL, 
	overwrite BOOLEAN NOT NULL, 
	output_path VARCHAR NOT NULL, 
	directory VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	error TEXT, 
	cancel_requested BOOLEAN DEFAULT 0 NOT NULL, 
	idempotency_key VARCHAR, 
	body_hash VARCHAR, 
	CONSTRAINT task_state CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')), 
	UNIQUE (idempotency_key)
);
INSERT INTO "tasks" VALUES(1,0,'completed',5,'普通推理','alice.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1795386538.58841,1.7953865386338624954e+09,1.79538653894694161415e+09,NULL,0,'first','5f446e98f346e302a16fdd046193232995c13528068b2f4a150c5a860ff2bc8d');
INSERT INTO "tasks" VALUES(2,0,'failed',5,'普通推理','alice.wav',3928058459,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.7953865386902871132e+09,1.79538653921870470044e+09,1.79538653934011745456e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(3,1,'completed',5,'普通推理','bob.wav',2541227281,'wav','{}',0,'@FOLDER@/outputs/whole','@FOLDER@/outputs/whole',1.79538653875615143769e+09,1.7953865393591110707e+09,1.79538653962992763519e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(4,1,'completed',9,'普通推理','alice.wav',1120297325,'wav','{}',0,'@FOLDER@/outputs/partly','@FOLDER@/outputs/partly',1.79538653881026887895e+09,1.79538653897003245346e+09,1.7953865392122058868e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(5,0,'completed',5,'普通推理','alice.wav',2431132617,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653998010182388e+09,1.79538653999282217022e+09,1.79538654001284956936e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(6,0,'completed',5,'普通推理','bob.wav',299351352,'wav','{}',0,'@FOLDER@/outputs/good','@FOLDER@/outputs/good',1.79538653998257637023e+09,1.79538654001903390886e+09,1.79538654004517698285e+09,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(7,0,'failed',5,'普通推理','bob.wav',3493834490,'wav','{}',0,'@FOLDER@/outputs/bad','@FOLDER@/outputs/bad',1.79538654074470853806e+09,1795386540.75029,1.7953865408093178272e+09,'the engine failed: RuntimeError: the text holds ''FAIL''',0,NULL,NULL);
INSERT INTO "tasks" VALUES(8,1,'processing',5,'普通推理','bob.wav',3511905468,'wav','{}',0,'@FOLDER@/outputs/in work','@FOLDER@/outputs/in work',1.79538654086929202078e+09,1.79538654088199448586e+09,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(9,0,'pending',5,'普通推理','alice.wav',4294967295,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654104071688654e+09,NULL,NULL,NULL,0,'second','a34f452c96925794867a1194880695547c62988e534deb851311534bf92fa8e2');
INSERT INTO "tasks" VALUES(10,0,'pending',9,'批次推理','bob.wav',3892161453,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654106215548513e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(11,1,'pending',5,'批次推理','bob.wav',798914400,'wav','{}',0,'@FOLDER@/outputs/batched','@FOLDER@/outputs/batched',1.79538654109407353398e+09,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(12,0,'cancelled',5,'普通推理','alice.wav',2627483017,'wav','{}',0,'@FOLDER@/outputs/out','@FOLDER@/outputs/out',1.79538654111347746851e+09,NULL,1.79538654118781566618e+09,'cancelled',1,NULL,NULL);
INSERT INTO "tasks" VALUES(13,0,'pending',5,'普通推理','alice.wav',1010526381,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1795386541.52035,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO "tasks" VALUES(14,0,'pending',5,'普通推理','bob.wav',531026431,'wav','{}',0,'@FOLDER@/outputs/waiting','@FOLDER@/outputs/waiting',1.79538654152179813386e+09,NULL,NULL,NULL,0,NULL,NULL);
CREATE TABLE texts (
	speech INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (speech), 
	FOREIGN KEY(speech) REFERENCES speeches (id)
);
INSERT INTO "texts" VALUES(1,'A first text.');
INSERT INTO "texts" VALUES(2,'FAIL');
INSERT INTO "texts" VALUES(3,'One.');
INSERT INTO "texts" VALUES(4,'Two.');
INSERT INTO "texts" VALUES(5,'One.');
INSERT INTO "texts" VALUES(6,'FAIL');
INSERT INTO "texts" VALUES(7,'Dropped, one.');
INSERT INTO "texts" VALUES(8,'Dropped, two.');
INSERT INTO "texts" VALUES(9,'FAIL');
INSERT INTO "texts" VALUES(10,'Spoken.');
INSERT INTO "texts" VALUES(11,'HANG');
INSERT INTO "texts" VALUES(12,'Waits.');
INSERT INTO "texts" VALUES(13,'Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. Long. ');
INSERT INTO "texts" VALUES(14,'你好，世界。');
INSERT INTO "texts" VALUES(15,'X.');
INSERT INTO "texts" VALUES(16,'Y.');
INSERT INTO "texts" VALUES(17,'Never to be spoken.');
INSERT INTO "texts" VALUES(18,'Waits in .claimed/.');
INSERT INTO "texts" VALUES(19,'This too.');
CREATE INDEX tasks_by_state ON tasks (state, id);
CREATE INDEX tasks_waiting ON tasks (priority DESC, id) WHERE state = 'pending';
CREATE INDEX tasks_by_directory ON tasks (directory) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX speeches_of_task ON speeches (task, position);
CREATE INDEX speeches_waiting ON speeches (priority DESC, task, position) WHERE state = 'pending';
CREATE INDEX speeches_in_work ON speeches (id) WHERE state = 'processing';
CREATE INDEX drops_open ON drops (created_at) WHERE archived = 0;
CREATE INDEX speeches_joinable ON speeches (priority, task, position) WHERE state = 'pending' AND batched = 1 AND in_company = 0 AND attempts = 0;
CREATE INDEX drop_tasks_of_task ON drop_tasks (task);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',14);
COMMIT;
